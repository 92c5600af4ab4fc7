/* cib_key.c: a device's key (docs/PROTOCOL.md, "Keys"): what is made of the secret once, so that the secret need not stay. */
#include "cib.h"
#include "cib_crypto.h"
#include "cib_secret.h"
#include "cib_text.h"

#include <string.h>

int cib_key_init(cib_key *key, const uint8_t id[CIB_KEY_ID_BYTES], const uint8_t secret[CIB_SECRET_BYTES], uint32_t boot)
{
    static const uint8_t LABEL[32] = "claude-in-box link v1";
    cib_piece message = {secret, CIB_SECRET_BYTES};
    memcpy(key->id, id, CIB_KEY_ID_BYTES);
    key->boot = boot;
    key->uses = 0;
    return cib_hmac(key->prk0, LABEL, &message, 1);
}

/* n bytes from twice as many digits; false where one is none, and so at the end of a text that is too short. */
static bool read_hex(uint8_t *out, const char *text, size_t n)
{
    for (; n > 0; n--, text += 2) {
        int high = cib_digit(text[0]);
        int low = high < 0 ? high : cib_digit(text[1]);
        if (low < 0)
            return false;
        *out++ = (uint8_t)(high << 4 | low);
    }
    return true;
}

int cib_key_parse(cib_key *key, const char *text, uint32_t boot)
{
    uint8_t id[CIB_KEY_ID_BYTES];
    uint8_t secret[CIB_SECRET_BYTES];
    const char *colon = text + 2 * CIB_KEY_ID_BYTES;
    int result = CIB_EFORMAT;
    if (read_hex(id, text, sizeof id) && *colon == ':' && read_hex(secret, colon + 1, sizeof secret)
        && colon[1 + 2 * CIB_SECRET_BYTES] == 0)
        result = cib_key_init(key, id, secret, boot);
    cib_wipe(secret, sizeof secret);
    return result;
}

int cib_key_mqtt_password(const cib_key *key, char out[33])
{
    static const uint8_t MQTT_PASSWORD = 0x31;
    cib_piece what = {&MQTT_PASSWORD, 1};
    uint8_t mac[32];
    int result = cib_hmac(mac, key->prk0, &what, 1);
    *cib_hex(out, mac, 16) = 0;
    cib_wipe(mac, sizeof mac);
    return result;
}
