/* rtos.c: FreeRTOS's tasks, queues and event groups, of the host's threads. One lock for all: this is no place for speed. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "freertos/FreeRTOS.h"
#include "freertos/event_groups.h"
#include "freertos/queue.h"
#include "freertos/task.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static struct timespec in_ticks(TickType_t ticks) {
    struct timespec at;
    (void)clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ticks / 1000;
    at.tv_nsec += (long)(ticks % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

/* With the lock held: false when the time has come. */
static bool wait_until(TickType_t ticks, const struct timespec *end) {
    if (ticks == portMAX_DELAY) return pthread_cond_wait(&changed, &lock) == 0;
    return pthread_cond_timedwait(&changed, &lock, end) == 0;
}

/* ------------------------------------------------------------------ tasks */

struct shim_task {
    TaskFunction_t code;
    void *arg;
};

static void *run(void *arg) {
    struct shim_task task = *(struct shim_task *)arg;
    free(arg);
    task.code(task.arg);
    return NULL;
}

BaseType_t xTaskCreate(TaskFunction_t code, const char *name, uint32_t stack, void *arg, UBaseType_t priority, TaskHandle_t *task) {
    (void)name;
    (void)stack;
    (void)priority;
    (void)task;
    struct shim_task *made = malloc(sizeof *made);
    pthread_t thread;
    if (made == NULL) return pdFALSE;
    *made = (struct shim_task){.code = code, .arg = arg};
    if (pthread_create(&thread, NULL, run, made) != 0) {
        free(made);
        return pdFALSE;
    }
    (void)pthread_detach(thread);
    return pdPASS;
}

void vTaskDelay(TickType_t ticks) {
    struct timespec time = {.tv_sec = ticks / 1000, .tv_nsec = (long)(ticks % 1000) * 1000000};
    (void)nanosleep(&time, NULL);
}

/* ------------------------------------------------------------------ queues */

struct shim_queue {
    size_t length, item, first, count;
    unsigned char bytes[];
};

QueueHandle_t xQueueCreate(UBaseType_t length, UBaseType_t item_size) {
    struct shim_queue *queue = calloc(1, sizeof *queue + (size_t)length * item_size);
    if (queue == NULL) return NULL;
    queue->length = length;
    queue->item = item_size;
    return queue;
}

BaseType_t xQueueSend(QueueHandle_t queue, const void *item, TickType_t wait) {
    struct timespec end = in_ticks(wait);
    (void)pthread_mutex_lock(&lock);
    while (queue->count == queue->length && wait != 0 && wait_until(wait, &end)) {
    }
    bool room = queue->count < queue->length;
    if (room) {
        size_t at = (queue->first + queue->count++) % queue->length;
        memcpy(queue->bytes + at * queue->item, item, queue->item);
        (void)pthread_cond_broadcast(&changed);
    }
    (void)pthread_mutex_unlock(&lock);
    return room ? pdTRUE : pdFALSE;
}

BaseType_t xQueueSendFromISR(QueueHandle_t queue, const void *item, BaseType_t *woken) {
    *woken = pdFALSE;
    return xQueueSend(queue, item, 0);
}

BaseType_t xQueueReceive(QueueHandle_t queue, void *item, TickType_t wait) {
    struct timespec end = in_ticks(wait);
    (void)pthread_mutex_lock(&lock);
    while (queue->count == 0 && wait != 0 && wait_until(wait, &end)) {
    }
    bool some = queue->count > 0;
    if (some) {
        memcpy(item, queue->bytes + queue->first * queue->item, queue->item);
        queue->first = (queue->first + 1) % queue->length;
        queue->count--;
        (void)pthread_cond_broadcast(&changed);
    }
    (void)pthread_mutex_unlock(&lock);
    return some ? pdTRUE : pdFALSE;
}

/* ------------------------------------------------------------------ event groups */

struct shim_events {
    EventBits_t bits;
};

EventGroupHandle_t xEventGroupCreate(void) {
    return calloc(1, sizeof(struct shim_events));
}

static EventBits_t change(EventGroupHandle_t group, EventBits_t set, EventBits_t clear) {
    (void)pthread_mutex_lock(&lock);
    EventBits_t before = group->bits;
    group->bits = (before & ~clear) | set;
    EventBits_t after = group->bits;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    return clear != 0 ? before : after;
}

EventBits_t xEventGroupSetBits(EventGroupHandle_t group, EventBits_t bits) {
    return change(group, bits, 0);
}

EventBits_t xEventGroupClearBits(EventGroupHandle_t group, EventBits_t bits) {
    return change(group, 0, bits);
}

EventBits_t xEventGroupWaitBits(EventGroupHandle_t group, EventBits_t bits, BaseType_t clear, BaseType_t all, TickType_t wait) {
    struct timespec end = in_ticks(wait);
    (void)pthread_mutex_lock(&lock);
    while ((all ? (group->bits & bits) != bits : (group->bits & bits) == 0) && wait != 0 && wait_until(wait, &end)) {
    }
    EventBits_t found = group->bits;
    if (clear) group->bits &= ~bits;
    (void)pthread_mutex_unlock(&lock);
    return found;
}
