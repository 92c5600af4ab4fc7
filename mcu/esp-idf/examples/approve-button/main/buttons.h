/* buttons.h: two buttons, each press once however its contacts bounce. */
#ifndef BUTTONS_H
#define BUTTONS_H

enum button {
    BUTTON_NONE,
    BUTTON_ALLOW,
    BUTTON_DENY,
};

void buttons_start(void);
/* The next press that nobody has taken yet, or BUTTON_NONE. Does not wait. */
enum button buttons_take(void);

#endif
