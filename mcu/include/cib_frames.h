/*
 * cib_frames.h: the numbers of claude-in-box frames.
 * Generated from src/frame/registry.ts by `npm run generate`. The contract is docs/frames.cddl.
 *
 * A frame is a CBOR array: [type, seq, ts, session, data].
 *
 *   type     enum cib_type; a number that is not in it belongs to a later version: skip the frame
 *   seq      number of the frame in its session, from 1, without holes; remember the last one you
 *            handled and attach again from the next. In CIB_FRAME_PTY_RAW: byte offset of the data
 *   ts       milliseconds since 1970, more than 32 bits
 *   session  byte string of 16
 *   data     map with the keys below; skip a key you do not know
 *
 * To read one: take the array head, then five items. Every length is definite, no tags occur, and whole
 * numbers are never floats, so the head needs five fixed reads and a skip needs no memory.
 *
 * Constants only, nothing to link. Numbers are never given again: old firmware reads new boxes.
 */
#ifndef CIB_FRAMES_H
#define CIB_FRAMES_H


/* First element of every frame. */
enum cib_type {
    CIB_FRAME_TEXT_DELTA = 1, /* assistant text streams */
    CIB_FRAME_THINKING = 2, /* extended thinking (CIB_THINKING) */
    CIB_FRAME_TOOL_USE_START = 3, /* a tool is called */
    CIB_FRAME_TOOL_USE_RESULT = 4, /* a tool returned */
    CIB_FRAME_TODO_UPDATE = 5, /* the task list changed */
    CIB_FRAME_ASK_QUESTION = 6, /* the model, or a permission, waits for a person; one frame a question */
    CIB_FRAME_ASK_ANSWER = 7, /* a question was settled: by whom and where, or lost */
    CIB_FRAME_USAGE = 8, /* a turn ended */
    CIB_FRAME_STATUS = 9, /* the session's state changed */
    CIB_FRAME_STOP = 10, /* a turn or the session ended */
    CIB_FRAME_META = 11, /* model or configuration changed */
    CIB_FRAME_HOOK = 12, /* a user hook fired */
    CIB_FRAME_INPUT = 13, /* an input moved on */
    CIB_FRAME_ERROR = 14, /* something failed that a person should know */
    CIB_FRAME_PTY_RAW = 15, /* terminal bytes, for clients that asked for them */
};

/* The highest type number of this version. */
#define CIB_TYPE_MAX 15
/* The names of types 0 to CIB_TYPE_MAX, each ended by a zero: attach asks for them by name. */
#define CIB_TYPE_NAMES \
    "\0" \
    "text.delta\0" \
    "thinking\0" \
    "tool.use.start\0" \
    "tool.use.result\0" \
    "todo.update\0" \
    "ask.question\0" \
    "ask.answer\0" \
    "usage\0" \
    "status\0" \
    "stop\0" \
    "meta\0" \
    "hook\0" \
    "input\0" \
    "error\0" \
    "pty.raw\0"

/* Elements before the data map: type, seq, ts, session. */
#define CIB_HEAD_ITEMS 4
/* Bytes of a session id. */
#define CIB_SESSION_BYTES 16

/* text.delta: assistant text streams */
#define CIB_KEY_TEXT_DELTA_TEXT 0 /* text */
#define CIB_KEY_TEXT_DELTA_MESSAGE 1 /* optional text */
#define CIB_KEY_TEXT_DELTA_AGENT 2 /* optional text */

/* thinking: extended thinking (CIB_THINKING) */
#define CIB_KEY_THINKING_TEXT 0 /* text */
#define CIB_KEY_THINKING_MESSAGE 1 /* optional text */
#define CIB_KEY_THINKING_AGENT 2 /* optional text */

/* tool.use.start: a tool is called */
#define CIB_KEY_TOOL_USE_START_ID 0 /* text */
#define CIB_KEY_TOOL_USE_START_TOOL 1 /* text */
#define CIB_KEY_TOOL_USE_START_INPUT 2 /* json */
#define CIB_KEY_TOOL_USE_START_AGENT 3 /* optional text */

/* tool.use.result: a tool returned */
#define CIB_KEY_TOOL_USE_RESULT_ID 0 /* text */
#define CIB_KEY_TOOL_USE_RESULT_TOOL 1 /* text */
#define CIB_KEY_TOOL_USE_RESULT_OUTPUT 2 /* json */
#define CIB_KEY_TOOL_USE_RESULT_ERROR 3 /* optional text */
#define CIB_KEY_TOOL_USE_RESULT_DURATION_MS 4 /* uint */
#define CIB_KEY_TOOL_USE_RESULT_AGENT 5 /* optional text */

/* todo.update: the task list changed */
#define CIB_KEY_TODO_UPDATE_ITEMS 0 /* todos */

/* ask.question: the model, or a permission, waits for a person; one frame a question */
#define CIB_KEY_ASK_QUESTION_ID 0 /* text */
#define CIB_KEY_ASK_QUESTION_OF 1 /* uint */
#define CIB_KEY_ASK_QUESTION_KIND 2 /* text */
#define CIB_ASK_QUESTION_KIND_QUESTION "question"
#define CIB_ASK_QUESTION_KIND_PERMISSION "permission"
#define CIB_KEY_ASK_QUESTION_PROMPT 3 /* text */
#define CIB_KEY_ASK_QUESTION_OPTIONS 4 /* options */
#define CIB_KEY_ASK_QUESTION_MULTI_SELECT 5 /* bool */
#define CIB_KEY_ASK_QUESTION_TOOL 6 /* optional text */
#define CIB_KEY_ASK_QUESTION_INPUT 7 /* optional json */
#define CIB_KEY_ASK_QUESTION_SUMMARY 8 /* optional text */
#define CIB_KEY_ASK_QUESTION_EXPIRES_AT 9 /* optional uint */

/* ask.answer: a question was settled: by whom and where, or lost */
#define CIB_KEY_ASK_ANSWER_ID 0 /* text */
#define CIB_KEY_ASK_ANSWER_ANSWER 1 /* json */
#define CIB_KEY_ASK_ANSWER_BY 2 /* text */

/* usage: a turn ended */
#define CIB_KEY_USAGE_INPUT 0 /* uint */
#define CIB_KEY_USAGE_OUTPUT 1 /* uint */
#define CIB_KEY_USAGE_CACHE_READ 2 /* uint */
#define CIB_KEY_USAGE_CACHE_WRITE 3 /* uint */
#define CIB_KEY_USAGE_MODEL 4 /* optional text */
#define CIB_KEY_USAGE_COST_USD 5 /* optional number */

/* status: the session's state changed */
#define CIB_KEY_STATUS_STATE 0 /* text */
#define CIB_STATUS_STATE_IDLE "idle"
#define CIB_STATUS_STATE_WORKING "working"
#define CIB_STATUS_STATE_WAITING_FOR_INPUT "waiting_for_input"
#define CIB_STATUS_STATE_STOPPED "stopped"
#define CIB_KEY_STATUS_ELAPSED_MS 1 /* uint */
#define CIB_KEY_STATUS_LIMIT_RESETS_AT 2 /* optional uint */

/* stop: a turn or the session ended */
#define CIB_KEY_STOP_REASON 0 /* text */

/* meta: model or configuration changed */
#define CIB_KEY_META_MODEL 0 /* optional text */
#define CIB_KEY_META_WORKDIR 1 /* optional text */
#define CIB_KEY_META_TITLE 2 /* optional text */
#define CIB_KEY_META_ENGINE 3 /* optional text */
#define CIB_KEY_META_AUTH 4 /* optional text */
#define CIB_KEY_META_VERSION 5 /* optional text */
#define CIB_KEY_META_PERMISSION_MODE 6 /* optional text */
#define CIB_KEY_META_EFFORT 7 /* optional text */
#define CIB_KEY_META_CLAUDE_SESSION 8 /* optional text */
#define CIB_KEY_META_NOTE 9 /* optional text */

/* hook: a user hook fired */
#define CIB_KEY_HOOK_NAME 0 /* text */
#define CIB_KEY_HOOK_EVENT 1 /* text */
#define CIB_KEY_HOOK_PAYLOAD 2 /* optional json */
#define CIB_KEY_HOOK_RESULT 3 /* optional json */

/* input: an input moved on */
#define CIB_KEY_INPUT_ID 0 /* optional text */
#define CIB_KEY_INPUT_BY 1 /* text */
#define CIB_KEY_INPUT_TEXT 2 /* optional text */
#define CIB_KEY_INPUT_STATE 3 /* text */
#define CIB_INPUT_STATE_ACCEPTED "accepted"
#define CIB_INPUT_STATE_DELIVERED "delivered"
#define CIB_INPUT_STATE_FAILED "failed"
#define CIB_KEY_INPUT_INPUT 4 /* optional text */
#define CIB_KEY_INPUT_REASON 5 /* optional text */

/* error: something failed that a person should know */
#define CIB_KEY_ERROR_CODE 0 /* text */
#define CIB_KEY_ERROR_MESSAGE 1 /* text */

/* pty.raw: terminal bytes, for clients that asked for them */
#define CIB_KEY_PTY_RAW_DATA 0 /* bytes */

/* any frame that was cut to your max_bytes */
#define CIB_KEY_PART 30 /* optional part */
#define CIB_KEY_TRUNCATED 31 /* optional uint */

/* One task in CIB_KEY_TODO_UPDATE_ITEMS, a map. */
#define CIB_KEY_TODO_ID 0 /* text */
#define CIB_KEY_TODO_SUBJECT 1 /* text */
#define CIB_KEY_TODO_STATUS 2 /* text */
#define CIB_KEY_TODO_ACTIVE_FORM 3 /* text */

/* One choice in CIB_KEY_ASK_QUESTION_OPTIONS, a map. */
#define CIB_KEY_OPTION_LABEL 0 /* text */
#define CIB_KEY_OPTION_DESCRIPTION 1 /* text */


#endif
