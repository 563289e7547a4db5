// Errors and properties of the emulated device.
#include <stdlib.h>
#include <string.h>

#include <mutex>

#include "card.h"
#include "device.h"

namespace emulation {

namespace {
thread_local cudaError_t last = cudaSuccess;
auto& mutex = *new std::mutex;
cudaError_t death = cudaSuccess;

Card read_card() {
  Card card;
  each_setting(getenv("FAST_WEIGHTS_EMULATED_CARD"), [&](const std::string& name, const std::string& value) {
    if (name == "memory") card.memory = strtoull(value.c_str(), nullptr, 10);
    if (name == "capability") {
      card.major = atoi(value.c_str());
      card.minor = atoi(value.c_str() + value.find('.') + 1);
    }
    if (name == "driver") card.driver = atoi(value.c_str());
    if (name == "none") card.none = true;
    if (name == "failLaunch") card.fail_launch = atoll(value.c_str());
  });
  return card;
}

struct Names {
  cudaError_t code;
  const char *name, *text;
};
constexpr Names kNames[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
};
const Names& names_of(cudaError_t code) {
  static constexpr Names unknown = {cudaErrorInvalidValue, "unrecognized error code", "unrecognized error code"};
  for (const Names& names : kNames) {
    if (names.code == code) return names;
  }
  return unknown;
}

constexpr int kProcessors = 132;
constexpr size_t kPlainShared = 48 << 10;

// The most shared memory a block may ask for, by compute capability.
size_t shared_per_block() {
  const int capability = card().major * 10 + card().minor;
  if (capability < 80) return 64 << 10;
  if (capability == 80 || capability == 87) return 163 << 10;
  if (capability == 86 || capability == 89 || capability >= 120) return 99 << 10;
  return 227 << 10;
}
}  // namespace

const Card& card() {
  static const Card card = read_card();
  return card;
}

cudaError_t done(cudaError_t code) {
  if (code != cudaSuccess && code != cudaErrorNotReady) last = code;
  return code;
}

cudaError_t unusable() {
  if (card().driver < CUDART_VERSION) return cudaErrorInsufficientDriver;
  if (card().none) return cudaErrorNoDevice;
  const std::lock_guard<std::mutex> lock(mutex);
  return death;
}

void die(cudaError_t code) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (death == cudaSuccess) death = code;
}
bool is_dead() {
  const std::lock_guard<std::mutex> lock(mutex);
  return death != cudaSuccess;
}
void revive() {
  const std::lock_guard<std::mutex> lock(mutex);
  death = cudaSuccess;
  last = cudaSuccess;
}

}  // namespace emulation

using namespace emulation;

const char* cudaGetErrorName(cudaError_t code) { return names_of(code).name; }
const char* cudaGetErrorString(cudaError_t code) { return names_of(code).text; }
cudaError_t cudaPeekAtLastError() {
  const cudaError_t code = unusable();
  return code != cudaSuccess ? code : last;
}
cudaError_t cudaGetLastError() {
  const cudaError_t code = cudaPeekAtLastError();
  last = cudaSuccess;
  return code;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = card().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  const cudaError_t code = unusable();
  *count = code == cudaSuccess ? 1 : 0;
  return done(code);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return done(unusable());
}
cudaError_t cudaSetDevice(int device) {
  const cudaError_t code = unusable();
  return done(code == cudaSuccess && device != 0 ? cudaErrorInvalidDevice : code);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const cudaError_t code = cudaSetDevice(device);
  if (code != cudaSuccess) return code;
  *properties = {};
  strcpy(properties->name, "Emulated card");
  properties->major = card().major;
  properties->minor = card().minor;
  properties->totalGlobalMem = card().memory;
  properties->sharedMemPerBlock = kPlainShared;
  properties->sharedMemPerBlockOptin = shared_per_block();
  properties->sharedMemPerMultiprocessor = shared_per_block() + (1 << 10);
  properties->multiProcessorCount = kProcessors;
  properties->l2CacheSize = 50 << 20;
  properties->memoryBusWidth = 5120;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->regsPerBlock = 65536;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t code = cudaGetDeviceProperties(&properties, device);
  if (code != cudaSuccess) return code;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = properties.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(properties.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = properties.warpSize; break;
    case cudaDevAttrClockRate: *value = 1980000; break;
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
    case cudaDevAttrIntegrated: *value = 0; break;
    case cudaDevAttrMemoryClockRate: *value = 2619000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = properties.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = properties.l2CacheSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(properties.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(properties.sharedMemPerBlockOptin); break;
    default: return done(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  const cudaError_t code = unusable();
  return done(code == cudaSuccess && static_cast<size_t>(value) > shared_per_block() ? cudaErrorInvalidValue : code);
}
