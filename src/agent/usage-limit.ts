/** Usage limit: whether Claude's words say that one is reached, and when it resets; pure, the time is given. */
import { at, count, type Json } from "./json.ts";

/** The words name a minute and cut off its seconds: when it is over, the limit is. */
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Limits reset after 5 hours, a week, or with the month of extra usage; what lies further off was misread. */
const FARTHEST_MS = 35 * DAY_MS;

/** "You've hit your session limit · resets 3pm (Europe/Berlin)", "You're out of extra usage · …", "Claude AI usage limit reached|1795480002". */
const REACHED = /hit your [\w -]*limit|out of (extra usage|usage credits)|usage limit reached/i;

/** Undefined: no usage limit. `resetsAt`: ms since 1970, where the words say when. `zone`: Claude's, where they do not name it. */
export function limitIn(words: string, now: number, zone: string): { readonly resetsAt?: number } | undefined {
  if (!REACHED.test(words)) return undefined;
  const resetsAt = epochIn(words) ?? timeIn(words, now, zone);
  return resetsAt === undefined || !isNear(resetsAt, now) ? {} : { resetsAt };
}

/** 2.1.330 writes what the API said: `apiErrorParams.rate_limit_info.resetsAt`, in seconds since 1970. */
export function resetIn(line: Json, now: number): number | undefined {
  const seconds = count(at(at(line["apiErrorParams"], "rate_limit_info"), "resetsAt"));
  if (seconds === undefined || !isNear(seconds * 1000, now)) return undefined;
  return seconds * 1000;
}

function isNear(resetsAt: number, now: number): boolean {
  return resetsAt > now - MINUTE_MS && resetsAt < now + FARTHEST_MS;
}

function epochIn(words: string): number | undefined {
  const seconds = /\|(\d{10})\b/.exec(words)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/** `resets 3pm`, `resets 1:26am (Europe/Berlin)`, `resets Nov 27, 1:26am (Asia/Kolkata)`, `resets Jan 2, 2027, 3pm`. */
const RESETS =
  /resets (?:at )?(?:([a-z]{3})[a-z]* (\d{1,2}),? (?:(\d{4}),? )?(?:at )?)?(\d{1,2})(?::(\d\d))? ?([ap])m(?: \(([\w/+-]+)\))?/i;

function timeIn(words: string, now: number, zone: string): number | undefined {
  const found = RESETS.exec(words);
  if (found === null) return undefined;
  const [, month, day, year, hour, minute, half, named] = found;
  const hours = (Number(hour) % 12) + (half?.toLowerCase() === "p" ? 12 : 0);
  try {
    const offset = (time: number): number => offsetOf(named ?? zone, time);
    const today = new Date(now + offset(now));
    const asked = month === undefined ? undefined : MONTHS.indexOf(month.toLowerCase());
    if (asked === -1) return undefined;
    const instant = (years: number, days: number): number => {
      const [m, d] = [asked ?? today.getUTCMonth(), day === undefined ? today.getUTCDate() + days : Number(day)];
      const local = Date.UTC(years, m, d, hours, Number(minute ?? 0));
      // Twice: the offset is that of the instant, which is not known before it.
      return local - offset(local - offset(local)) + MINUTE_MS;
    };
    const first = instant(year === undefined ? today.getUTCFullYear() : Number(year), 0);
    if (first >= now || year !== undefined) return first;
    return asked === undefined ? instant(today.getUTCFullYear(), 1) : instant(today.getUTCFullYear() + 1, 0);
  } catch {
    return undefined; // no such time zone here
  }
}

/** What a clock of that zone shows ahead of UTC at an instant, in ms. Throws RangeError for an unknown zone. */
function offsetOf(zone: string, time: number): number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  const parts = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(time / 1000) * 1000;
}
