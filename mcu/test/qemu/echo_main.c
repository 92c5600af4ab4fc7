/* echo_main.c: the first thing that must work: what comes in through the serial bridge goes back, doubled, until a ".". */
#include "board.h"
#include "semihost.h"

int main(void)
{
    uint8_t bytes[32];
    board_start();
    semihost_say(board_argument(1));
    semihost_say("\n");
    /* The board speaks first, as every client here does: a USART that is off yet loses what comes. */
    board_send((const uint8_t *)"?", 1);
    for (;;) {
        const size_t n = ring_receive(bytes, sizeof bytes);
        for (size_t i = 0; i < n; i++) {
            if (bytes[i] == '.') {
                semihost_tell("ms", board_ms());
                return 0;
            }
            board_send(&bytes[i], 1);
            board_send(&bytes[i], 1);
        }
        board_sleep();
    }
}
