/* cib_esp.c: the ESP-IDF port: a non-blocking lwIP socket, esp_timer, esp_random, NVS. */
#include "cib_esp.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <esp_random.h>
#include <esp_timer.h>
#include <lwip/netdb.h>
#include <lwip/sockets.h>
#include <nvs.h>

#define NAMESPACE "cib"
/* Names of NVS keys have at most 15 characters. */
#define BOOT_KEY "boot"
#define PLACE_KEY "place"
/* session | seq u64 | epoch u32, big-endian */
#define PLACE_BYTES (CIB_SESSION_BYTES + 8 + 4)

/* ------------------------------------------------------------------ the four callbacks */

static bool is_for_later(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* Sleeps until the socket can be written or read. */
static bool wait_for(int fd, bool writing, uint32_t timeout_ms) {
    fd_set files;
    FD_ZERO(&files);
    FD_SET(fd, &files);
    struct timeval timeout;
    memset(&timeout, 0, sizeof timeout);
    timeout.tv_sec = (long)(timeout_ms / 1000u);
    timeout.tv_usec = (long)(timeout_ms % 1000u * 1000u);
    return select(fd + 1, writing ? NULL : &files, writing ? &files : NULL, NULL, &timeout) > 0;
}

static int esp_send(void *user, const uint8_t *bytes, size_t n) {
    const cib_esp *net = user;
    if (net->fd < 0) return -1;
    ssize_t took = send(net->fd, bytes, n, MSG_NOSIGNAL);
    if (took >= 0) return (int)took;
    if (!is_for_later(errno)) return -1;
    /* The library tries again for CIB_SEND_MS: let other tasks run meanwhile. */
    (void)wait_for(net->fd, true, 10);
    return 0;
}

static int esp_recv(void *user, uint8_t *bytes, size_t room) {
    const cib_esp *net = user;
    if (net->fd < 0) return -1;
    ssize_t got = recv(net->fd, bytes, room, 0);
    if (got > 0) return (int)got;
    /* To the library 0 is "none now"; to recv it is the end. */
    return got < 0 && is_for_later(errno) ? 0 : -1;
}

static uint32_t esp_ms(void *user) {
    (void)user;
    return (uint32_t)(esp_timer_get_time() / 1000);
}

static int esp_random_bytes(void *user, uint8_t *bytes, size_t n) {
    (void)user;
    esp_fill_random(bytes, n);
    return 0;
}

cib_port cib_esp_port(cib_esp *net) {
    net->fd = -1;
    cib_port port = {.user = net, .send = esp_send, .recv = esp_recv, .ms = esp_ms, .random = esp_random_bytes};
    return port;
}

/* ------------------------------------------------------------------ the connection */

/* Waits for a connect that is under way; its error comes as a socket option. */
static bool comes_about(int fd, uint32_t timeout_ms) {
    int error = 0;
    socklen_t size = sizeof error;
    return wait_for(fd, true, timeout_ms) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static int open_socket(const struct addrinfo *to, uint32_t timeout_ms) {
    int fd = socket(to->ai_family, to->ai_socktype, to->ai_protocol);
    if (fd < 0) return -1;
    int yes = 1;
    /* Records are whole when they are sent: waiting for more to go with them only costs time. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    bool open = fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
    open = open && (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || (errno == EINPROGRESS && comes_about(fd, timeout_ms)));
    if (open) return fd;
    (void)close(fd);
    return -1;
}

int cib_esp_connect(cib_esp *net, const char *host, const char *port, uint32_t timeout_ms) {
    cib_esp_close(net);
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    struct addrinfo *first = NULL;
    if (getaddrinfo(host, port, &hints, &first) != 0) return CIB_ELINE;
    for (const struct addrinfo *to = first; to != NULL && net->fd < 0; to = to->ai_next) net->fd = open_socket(to, timeout_ms);
    freeaddrinfo(first);
    return net->fd < 0 ? CIB_ELINE : CIB_OK;
}

void cib_esp_close(cib_esp *net) {
    if (net->fd >= 0) (void)close(net->fd);
    net->fd = -1;
}

bool cib_esp_wait(const cib_esp *net, uint32_t timeout_ms) {
    return net->fd >= 0 && wait_for(net->fd, false, timeout_ms);
}

/* ------------------------------------------------------------------ flash */

esp_err_t cib_esp_boot(uint32_t *boot) {
    nvs_handle_t nvs;
    esp_err_t error = nvs_open(NAMESPACE, NVS_READWRITE, &nvs);
    if (error != ESP_OK) return error;
    uint32_t count = 0;
    error = nvs_get_u32(nvs, BOOT_KEY, &count);
    if (error == ESP_ERR_NVS_NOT_FOUND) error = ESP_OK;
    if (error == ESP_OK && count == UINT32_MAX) error = ESP_ERR_INVALID_STATE;
    if (error == ESP_OK) error = nvs_set_u32(nvs, BOOT_KEY, count + 1);
    if (error == ESP_OK) error = nvs_commit(nvs);
    nvs_close(nvs);
    if (error == ESP_OK) *boot = count + 1;
    return error;
}

static void put(uint8_t *at, uint64_t value, size_t bytes) {
    while (bytes-- > 0) {
        at[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t get(const uint8_t *at, size_t bytes) {
    uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | *at++;
    return value;
}

esp_err_t cib_esp_keep_place(const cib_follow *f) {
    uint8_t place[PLACE_BYTES];
    memcpy(place, f->session, CIB_SESSION_BYTES);
    put(place + CIB_SESSION_BYTES, f->seq, 8);
    put(place + CIB_SESSION_BYTES + 8, f->epoch, 4);
    nvs_handle_t nvs;
    esp_err_t error = nvs_open(NAMESPACE, NVS_READWRITE, &nvs);
    if (error != ESP_OK) return error;
    error = nvs_set_blob(nvs, PLACE_KEY, place, sizeof place);
    if (error == ESP_OK) error = nvs_commit(nvs);
    nvs_close(nvs);
    return error;
}

esp_err_t cib_esp_find_place(cib_follow *f) {
    uint8_t place[PLACE_BYTES];
    size_t size = sizeof place;
    nvs_handle_t nvs;
    esp_err_t error = nvs_open(NAMESPACE, NVS_READWRITE, &nvs);
    if (error != ESP_OK) return error;
    error = nvs_get_blob(nvs, PLACE_KEY, place, &size);
    nvs_close(nvs);
    if (error != ESP_OK) return error;
    if (size != sizeof place || memcmp(place, f->session, CIB_SESSION_BYTES) != 0) return ESP_ERR_NVS_NOT_FOUND;
    f->seq = get(place + CIB_SESSION_BYTES, 8);
    f->epoch = (uint32_t)get(place + CIB_SESSION_BYTES + 8, 4);
    return ESP_OK;
}
