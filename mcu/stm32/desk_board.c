/* desk_board.c: pins, serial line and a desk over MQTT, put together; everything that stays in RAM stands here. */
#include "desk_board.h"

#include "cib_boot_flash.h"
#include "cib_esp_at.h"
#include "cib_settings.h"
#include "desk_link.h"
#include "desk_mqtt.h"

/* By DMA half of it may lie unread: 44 ms at 115,200 baud. */
#define RING_BYTES 1024
/* The longest frame that is read whole; over MQTT its topic stands in the same buffer. */
#define FRAME_BYTES 512
/* A contact bounces for some milliseconds; a press counts once it has held this long. */
#define BOUNCE_MS 25u
/* Connections in a row that come to nothing, until the module is set up anew. */
#define TRIES_OF_BRIDGE 3

typedef struct button {
    uint32_t since; /* ms, of the last change */
    bool level, pressed;
} button;

static uint8_t ring[RING_BYTES];
static cib_stm32 serial;
static cib_esp_at bridge;
static cib_esp_at_settings bridge_settings;
static desk box;
static button approve, deny;
static bool open; /* the bridge is transparent */
static uint32_t failed_at;
static uint8_t failures;

__attribute__((weak)) void desk_frame(const cib_frame *frame)
{
    (void)frame;
}

/* ------------------------------------------------------------------ the line: a link with a key, or MQTT with a token */

#ifdef CIB_SETTING_KEY

static uint8_t rx[CIB_RECORD_ROOM(FRAME_BYTES)], tx[CIB_RECORD_ROOM(DESK_COMMAND_BYTES)];
static cib_key key;
static desk_link line;

static int start_line(const uint8_t session[CIB_SESSION_BYTES])
{
    uint32_t boot;
    int error = cib_boot_flash(&boot, CIB_SETTING_BOOT_SECTOR, CIB_SETTING_BOOT_WORDS);
    if (error == 0)
        error = cib_key_parse(&key, CIB_SETTING_KEY, boot);
    if (error != 0)
        return error;
    desk_init(&box, session, boot);
    desk_link_init(&line, &box, &key, &serial.port, CIB_SETTING_TYPES, rx, sizeof rx, tx, sizeof tx);
    return 0;
}

static void step_line(void)
{
    desk_link_step(&line);
}

#else

static uint8_t packet[FRAME_BYTES + DESK_MQTT_OVERHEAD];
static desk_mqtt_settings mqtt_settings;
static desk_mqtt line;

/* Without a key no counter in flash is needed: 32 random bits keep the ids of this start's commands apart from earlier ones. */
static int boot_number(uint32_t *boot)
{
    if (serial.rng == NULL)
        return cib_boot_flash(boot, CIB_SETTING_BOOT_SECTOR, CIB_SETTING_BOOT_WORDS);
    return serial.port.random(serial.port.user, (uint8_t *)boot, sizeof *boot);
}

static int start_line(const uint8_t session[CIB_SESSION_BYTES])
{
    uint32_t boot;
    const int error = boot_number(&boot);
    if (error != 0)
        return error;
    mqtt_settings = (desk_mqtt_settings){
        .client_id = CIB_SETTING_CLIENT_ID,
        .user = CIB_SETTING_TOKEN_ID,
        .password = CIB_SETTING_TOKEN,
        .keepalive_s = CIB_SETTING_KEEPALIVE_S,
        .types = CIB_SETTING_TYPES,
    };
    desk_init(&box, session, boot);
    desk_mqtt_init(&line, &box, &serial.port, &mqtt_settings, packet, sizeof packet);
    return 0;
}

static void step_line(void)
{
    desk_mqtt_step(&line);
}

#endif

/* ------------------------------------------------------------------ the bridge in front of it */

static void start_bridge(void)
{
    bridge_settings = (cib_esp_at_settings){
        .wifi = CIB_SETTING_WIFI_NAME,
        .password = CIB_SETTING_WIFI_PASSWORD,
        .box = CIB_SETTING_BOX,
        .port = CIB_SETTING_BOX_PORT,
    };
    open = !CIB_SETTING_ESP_AT;
    cib_esp_at_start(&bridge, &serial.port, &bridge_settings);
}

static void step_bridge(void)
{
    if (failures > 0 && HAL_GetTick() - failed_at < cib_backoff(failures - 1u, UINT32_MAX))
        return;
    const int n = cib_esp_at_poll(&bridge);
    if (n == 0)
        return;
    open = n > 0;
    failures = open ? 0 : (uint8_t)(failures < UINT8_MAX ? failures + 1 : failures);
    failed_at = HAL_GetTick();
    if (!open)
        cib_esp_at_start(&bridge, &serial.port, &bridge_settings);
}

static void step(void)
{
    if (!open) {
        step_bridge();
        return;
    }
    step_line();
    if (CIB_SETTING_ESP_AT && line.tries >= TRIES_OF_BRIDGE) {
        line.tries = 0;
        start_bridge();
    }
}

void desk_board_start(UART_HandleTypeDef *uart, cib_stm32_rng *rng)
{
    uint8_t session[CIB_SESSION_BYTES];
    cib_stm32_init(&serial, uart, rng, ring, sizeof ring);
    if (cib_session_parse(session, CIB_SETTING_SESSION) != 0 || start_line(session) != 0 ||
        cib_stm32_start(&serial, CIB_SETTING_RECEPTION) != 0)
        Error_Handler();
    start_bridge();
}

void desk_board_received(UART_HandleTypeDef *uart, uint16_t size)
{
    cib_stm32_received(&serial, uart, size);
}

void desk_board_failed(UART_HandleTypeDef *uart)
{
    cib_stm32_failed(&serial, uart);
}

/* ------------------------------------------------------------------ lamps and buttons */

/* True once for each press; buttons connect their pin to ground. */
static bool pressed(button *b, GPIO_PinState pin)
{
    const bool level = pin == GPIO_PIN_RESET;
    if (level != b->level) {
        b->level = level;
        b->since = HAL_GetTick();
    }
    if (HAL_GetTick() - b->since < BOUNCE_MS || b->pressed == level)
        return false;
    b->pressed = level;
    return level;
}

static GPIO_PinState lit(enum desk_lamp lamp)
{
    return box.lamp == lamp ? GPIO_PIN_SET : GPIO_PIN_RESET;
}

void desk_board_step(void)
{
    step();
    if (pressed(&approve, HAL_GPIO_ReadPin(APPROVE_GPIO_Port, APPROVE_Pin)))
        desk_press(&box, true);
    if (pressed(&deny, HAL_GPIO_ReadPin(DENY_GPIO_Port, DENY_Pin)))
        desk_press(&box, false);
    HAL_GPIO_WritePin(LAMP_WORKING_GPIO_Port, LAMP_WORKING_Pin, lit(DESK_WORKING));
    HAL_GPIO_WritePin(LAMP_WAITING_GPIO_Port, LAMP_WAITING_Pin, lit(DESK_WAITING));
    HAL_GPIO_WritePin(LAMP_DONE_GPIO_Port, LAMP_DONE_Pin, lit(DESK_DONE));
}
