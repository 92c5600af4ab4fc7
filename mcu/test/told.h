/* told.h: what came from the box as lines of JSON, and what a test wants to say from a line of words: for tests only. */
#ifndef TOLD_H
#define TOLD_H

#include "cib.h"

/* The next CBOR value, whatever it is: bytes as {"$bytes":"<hex>"}, keys that are numbers as text. */
void tell_value(cib_reader *r);
/* So many pairs, as an object. */
void tell_pairs(cib_reader *r, uint64_t pairs);
/* A frame as {"frame":[type,seq,ts,"<hex>",{...}],"last":...,"bytes":...}. */
void tell_frame(const cib_frame *frame, size_t bytes);
/* Any item, as one line. bytes: how long it was. */
void tell_item(const cib_item *item, size_t bytes);
/* Text or bytes as a JSON string, with its quotation marks. */
void tell_text(cib_text text);
void tell_hex(const uint8_t *at, size_t n);
const char *name_of_bye(enum cib_bye bye);
const char *name_of_error(int error);

/* Writes one value from words: u<number>, n<-1-number>, t<hex>, b<hex>, T, F, N, [<count> and {<count> with what is in them
 * behind. NULL where the words are wrong, else what is left of them. */
const char *say_value(cib_writer *w, const char *words);
/* Bytes of hex digits up to a space or the end; -1 where they are none, or more than room. */
int bytes_of_hex(const char *hex, uint8_t *bytes, size_t room);

#endif
