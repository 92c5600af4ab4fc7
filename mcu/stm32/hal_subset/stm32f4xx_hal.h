/*
 * hal_subset/stm32f4xx_hal.h: NOT ST's HAL. The declarations of it that this client uses, so that the port compiles where
 * the HAL is not. In your project ST's own stm32f4xx_hal.h (STM32CubeF4 1.28 or newer) is found instead of this file, and
 * nothing of this folder is needed.
 *
 * Names, types and prototypes are the HAL's; values and the insides of handles are not, and nothing here reads them.
 * conformance.c holds the prototypes against ST's headers.
 */
#ifndef CIB_HAL_SUBSET_TYPES
#define CIB_HAL_SUBSET_TYPES

#include <stddef.h>
#include <stdint.h>

typedef enum { HAL_OK, HAL_ERROR, HAL_BUSY, HAL_TIMEOUT } HAL_StatusTypeDef;
typedef enum { GPIO_PIN_RESET, GPIO_PIN_SET } GPIO_PinState;

typedef struct { uint32_t opaque; } GPIO_TypeDef;
typedef struct { uint32_t opaque; } UART_HandleTypeDef;
typedef struct { uint32_t opaque; } CRYP_HandleTypeDef;

/* As CubeMX's stm32f4xx_hal_conf.h says it; without it ST's headers have no RNG. */
#ifndef CIB_HAL_SUBSET_WITHOUT_RNG
#define HAL_RNG_MODULE_ENABLED
typedef struct { uint32_t opaque; } RNG_HandleTypeDef;
#endif

/* The one structure that is filled in, for HAL_CRYP_SetConfig. */
typedef struct {
    uint32_t DataType;
    uint32_t KeySize;
    uint32_t *pKey;
    uint32_t *pInitVect;
    uint32_t Algorithm;
    uint32_t *Header;
    uint32_t HeaderSize;
    uint32_t *B0;
    uint32_t DataWidthUnit;
    uint32_t HeaderWidthUnit;
    uint32_t KeyIVConfigSkip;
} CRYP_ConfigTypeDef;

#define GPIO_PIN_0 ((uint16_t)0x0001)
#define GPIO_PIN_1 ((uint16_t)0x0002)
#define GPIO_PIN_12 ((uint16_t)0x1000)
#define GPIO_PIN_13 ((uint16_t)0x2000)
#define GPIO_PIN_14 ((uint16_t)0x4000)
extern GPIO_TypeDef cib_hal_subset_gpio_b, cib_hal_subset_gpio_d;
#define GPIOB (&cib_hal_subset_gpio_b)
#define GPIOD (&cib_hal_subset_gpio_d)

#define FLASH_TYPEPROGRAM_WORD 2u

#define CRYP_DATATYPE_8B 1u
#define CRYP_KEYSIZE_256B 2u
#define CRYP_AES_GCM 3u
#define CRYP_DATAWIDTHUNIT_BYTE 1u
#define CRYP_HEADERWIDTHUNIT_BYTE 1u
#define CRYP_KEYIVCONFIG_ALWAYS 0u

#include "prototypes.h"

#endif
