/* desk_board.c: pins, serial line and a desk over MQTT, put together; everything that stays in RAM stands here. */
#include "desk_board.h"

#include "cib_esp_at.h"
#include "cib_settings.h"
#include "cib_stm32.h"
#include "desk_mqtt.h"

/* By DMA half of it may lie unread: 44 ms at 115,200 baud. */
#define RING_BYTES 1024
/* The longest frame that is read whole, with its topic. */
#define PACKET_BYTES 640
/* A contact bounces for some milliseconds; a press counts once it has held this long. */
#define BOUNCE_MS 25u
/* Connections in a row that come to nothing, until the module is set up anew. */
#define TRIES_OF_BRIDGE 3

typedef struct button {
    uint32_t since; /* ms, of the last change */
    bool level, pressed;
} button;

static uint8_t ring[RING_BYTES], packet[PACKET_BYTES];
static cib_stm32 serial;
static cib_esp_at bridge;
static desk box;
static desk_mqtt line;
static button approve, deny;
static bool open; /* the bridge is transparent */
static uint32_t failed_at;
static uint8_t failures;

static desk_mqtt_settings mqtt_settings;
static cib_esp_at_settings bridge_settings;

__attribute__((weak)) void desk_frame(const cib_frame *frame)
{
    (void)frame;
}

static void set_up(void)
{
    mqtt_settings = (desk_mqtt_settings){
        .client_id = CIB_SETTING_CLIENT_ID,
        .user = CIB_SETTING_TOKEN_ID,
        .password = CIB_SETTING_TOKEN,
        .keepalive_s = CIB_SETTING_KEEPALIVE_S,
        .types = CIB_SETTING_TYPES,
    };
    bridge_settings = (cib_esp_at_settings){
        .wifi = CIB_SETTING_WIFI_NAME,
        .password = CIB_SETTING_WIFI_PASSWORD,
        .box = CIB_SETTING_BOX,
        .port = CIB_SETTING_BOX_PORT,
    };
}

void desk_board_start(UART_HandleTypeDef *uart, RNG_HandleTypeDef *rng)
{
    uint8_t session[CIB_SESSION_BYTES];
    uint32_t boot = 0;
    set_up();
    cib_stm32_init(&serial, uart, rng, ring, sizeof ring);
    /* MQTT needs no boot counter in flash: 32 random bits keep the ids of this start's commands apart from earlier ones. */
    if (cib_session_parse(session, CIB_SETTING_SESSION) != 0 || rng == NULL ||
        HAL_RNG_GenerateRandomNumber(rng, &boot) != HAL_OK || cib_stm32_start(&serial, CIB_SETTING_RECEPTION) != 0)
        Error_Handler();
    desk_init(&box, session, boot);
    desk_mqtt_init(&line, &box, &serial.port, &mqtt_settings, packet, sizeof packet);
    open = !CIB_SETTING_ESP_AT;
    cib_esp_at_start(&bridge, &serial.port, &bridge_settings);
}

void desk_board_received(UART_HandleTypeDef *uart, uint16_t size)
{
    cib_stm32_received(&serial, uart, size);
}

void desk_board_failed(UART_HandleTypeDef *uart)
{
    cib_stm32_failed(&serial, uart);
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

static void step_line(void)
{
    desk_mqtt_step(&line);
    if (CIB_SETTING_ESP_AT && line.tries >= TRIES_OF_BRIDGE) {
        line.tries = 0;
        open = false;
        cib_esp_at_start(&bridge, &serial.port, &bridge_settings);
    }
}

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
    if (open)
        step_line();
    else
        step_bridge();
    if (pressed(&approve, HAL_GPIO_ReadPin(APPROVE_GPIO_Port, APPROVE_Pin)))
        desk_press(&box, true);
    if (pressed(&deny, HAL_GPIO_ReadPin(DENY_GPIO_Port, DENY_Pin)))
        desk_press(&box, false);
    HAL_GPIO_WritePin(LAMP_WORKING_GPIO_Port, LAMP_WORKING_Pin, lit(DESK_WORKING));
    HAL_GPIO_WritePin(LAMP_WAITING_GPIO_Port, LAMP_WAITING_Pin, lit(DESK_WAITING));
    HAL_GPIO_WritePin(LAMP_DONE_GPIO_Port, LAMP_DONE_Pin, lit(DESK_DONE));
}
