// A stand-in for NVML with one card, built by nvml_test.go against the header of
// go-nvml, so that types and layouts are the driver's. What it answers depends on the
// words in $NVML_STUB. It lacks nvmlDeviceGetMigMode and
// nvmlDeviceGetCurrentClocksEventReasons, as old drivers do.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NVML_NO_UNVERSIONED_FUNC_DEFS 1
#include "nvml.h"

static int told(const char *word) {
  const char *words = getenv("NVML_STUB");
  return words && strstr(words, word);
}

nvmlReturn_t nvmlInit_v2(void) {
  return told("driver not loaded") ? NVML_ERROR_DRIVER_NOT_LOADED : NVML_SUCCESS;
}
nvmlReturn_t nvmlShutdown(void) { return NVML_SUCCESS; }
const char *nvmlErrorString(nvmlReturn_t code) {
  return code == NVML_ERROR_GPU_IS_LOST ? "GPU is lost" : "Driver Not Loaded";
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *text, unsigned int length) {
  strncpy(text, "580.65.06", length);
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
  *version = 12040;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
  *count = told("no card") ? 0 : told("two cards") ? 2 : 1;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
  device->handle = (void *)(size_t)(index + 1);
  return index > 0 ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *text, unsigned int length) {
  strncpy(text, "Stub 100", length);
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *text, unsigned int length) {
  strncpy(text, "GPU-00000000-1111-2222-3333-444444444444", length);
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *memory) {
  memory->total = 80ull << 30;
  memory->free = 77ull << 30;
  memory->used = 3ull << 30;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t d, int *major, int *minor) {
  *major = 9;
  *minor = 0;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t d, nvmlEnableState_t *current, nvmlEnableState_t *pending) {
  *current = NVML_FEATURE_ENABLED;
  *pending = NVML_FEATURE_DISABLED;
  return NVML_SUCCESS;
}

// Another process first; then ours, twice, as with MIG, unless it is not visible.
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned int *count,
                                                     nvmlProcessInfo_t *infos) {
  unsigned int need = told("pid not visible") ? 1 : 3;
  unsigned int room = *count;
  *count = need;
  if (room < need) return NVML_ERROR_INSUFFICIENT_SIZE;
  memset(infos, 0, need * sizeof *infos);
  infos[0].pid = 1;
  infos[0].usedGpuMemory = 1ull << 40;
  for (unsigned int i = 1; i < need; i++) {
    infos[i].pid = (unsigned int)getpid();
    infos[i].usedGpuMemory =
        told("size not told") ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE : 1ull << 29;
  }
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t d, unsigned int *count,
                                                  nvmlProcessInfo_v1_t *infos) {
  return NVML_ERROR_UNKNOWN;  // _v3 is there
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned int *milliwatts) {
  *milliwatts = 312500;
  return told("lost") ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *millijoules) {
  *millijoules = 5000000000000ull;
  return told("no counter") ? NVML_ERROR_NOT_SUPPORTED : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, nvmlClockType_t type, unsigned int *megahertz) {
  *megahertz = type == NVML_CLOCK_SM ? 1980 : type == NVML_CLOCK_MEM ? 2619 : 1;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t sensor,
                                      unsigned int *celsius) {
  *celsius = 41;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *mask) {
  *mask = 0x44;
  return NVML_SUCCESS;
}
