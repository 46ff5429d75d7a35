/* Stands for NVIDIA's management library where there is no GPU: two devices with values that a test knows.
   A file whose path is in NVML_STUB_TROUBLE makes every call for utilization hang, or end the process, as it says. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOT_SUPPORTED 3
#define TIMEOUT 10

typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process_t;
typedef struct { void *device; unsigned long long kind, data; unsigned gi, ci; } event_t;
typedef struct {
    unsigned field, scope; long long timestamp, latency; int kind, result;
    union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; } value;
} field_t;

static int devices[2];
static int events_left = 3;
static unsigned long long sent_kib;

static int index_of(void *device) { return device == &devices[1]; }

int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &devices[index]; return 0; }

int nvmlDeviceGetUtilizationRates(void *device, utilization_t *found) {
    const char *path = getenv("NVML_STUB_TROUBLE");
    char word[16] = "";
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) { fgets(word, sizeof word, file); fclose(file); }
    if (!strncmp(word, "hang", 4)) for (;;) pause();
    if (!strncmp(word, "crash", 5)) abort();
    found->gpu = 97 - index_of(device); found->memory = 40;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *found) {
    found->total = 80ULL << 30; found->used = 20ULL << 30; found->free = 60ULL << 30;
    return 0;
}
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *found) { *found = 61; return 0; }
int nvmlDeviceGetPowerUsage(void *device, unsigned *found) { *found = 350000; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *found) { *found = 700000; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *found) { *found = 5000; return 0; }
int nvmlDeviceGetClockInfo(void *device, unsigned kind, unsigned *found) { *found = 1000 + kind; return 0; }
int nvmlDeviceGetFanSpeed(void *device, unsigned *found) { return NOT_SUPPORTED; }
int nvmlDeviceGetPcieThroughput(void *device, unsigned way, unsigned *found) { *found = 10 + way; return 0; }
int nvmlDeviceGetTotalEccErrors(void *device, int kind, int counter, unsigned long long *found) {
    *found = kind ? 0 : 7;
    return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *found) {
    *found = index_of(device) ? 0x40 : 0x4;
    return 0;
}
int nvmlDeviceGetEncoderUtilization(void *device, unsigned *share, unsigned *period) {
    *share = 5; *period = 100;
    return 0;
}
int nvmlDeviceGetFieldValues(void *device, int count, field_t *fields) {
    for (int i = 0; i < count; i++) {
        fields[i].result = 0;
        if (fields[i].field == 82) { fields[i].kind = 1; fields[i].value.ui = 70; continue; }
        fields[i].kind = 3; fields[i].value.ull = sent_kib;
    }
    sent_kib += 1024;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *found) {
    if (index_of(device)) { *count = 0; return 0; }
    const char *pid = getenv("NVML_STUB_PID");
    found[0].pid = pid ? atoi(pid) : 4242; found[0].used = 1ULL << 30;
    found[1].pid = 1; found[1].used = 2ULL << 30;
    found[2].pid = 2; found[2].used = ~0ULL;
    *count = 3;
    return 0;
}
int nvmlEventSetCreate(void **set) { *set = &events_left; return 0; }
int nvmlDeviceRegisterEvents(void *device, unsigned long long kinds, void *set) { return 0; }
int nvmlEventSetWait_v2(void *set, event_t *event, unsigned timeout) {
    if (!events_left) return TIMEOUT;
    events_left--;
    event->device = &devices[1]; event->kind = 8; event->data = 79;
    return 0;
}
