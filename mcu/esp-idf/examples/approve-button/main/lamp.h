/* lamp.h: three lights that say how Claude is. */
#ifndef LAMP_H
#define LAMP_H

enum lamp {
    LAMP_OFF,     /* not connected: nothing is known */
    LAMP_WORKING, /* Claude works */
    LAMP_WAITING, /* Claude waits for a person */
    LAMP_DONE,    /* Claude is done */
    LAMP_FAULT,   /* all three: something that waiting does not mend; the log says what */
};

void lamp_start(void);
void lamp_show(enum lamp lamp);

#endif
