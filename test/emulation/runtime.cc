// Errors and properties of the emulated device.
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "card.h"
#include "device.h"

namespace emulation {

namespace {
thread_local cudaError_t last = cudaSuccess;
auto& mutex = *new std::mutex;
auto& deaths = *new std::map<int, cudaError_t>;  // by card

// What the runtime knows of a kernel.
struct Function {
  bool loaded = false;
  size_t shared = 0;  // that it may use beyond what all may
};
auto& functions = *new std::map<std::pair<int, const void*>, Function>;  // by card
int64_t late_loads = 0;

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
    if (name == "multiprocessors") card.multiprocessors = atoi(value.c_str());
    if (name == "failAttribute") card.fail_attribute = atoll(value.c_str());
    if (name == "failCapture") card.fail_capture = true;
    if (name == "cards") card.cards = atoi(value.c_str());
    if (name == "apart") card.apart = true;
    if (name == "busy") card.busy = atoi(value.c_str());
    if (name == "launchRoom") card.launch_room = strtoull(value.c_str(), nullptr, 10);
  });
  return card;
}

// The numbers of the cards that a process sees: those of CUDA_VISIBLE_DEVICES up to the first that is none.
const std::vector<int>& visible_cards() {
  static const std::vector<int> visible = [] {
    std::vector<int> found;
    const char* const setting = getenv("CUDA_VISIBLE_DEVICES");
    if (!setting) {
      for (int i = 0; i < card().cards; i++) found.push_back(i);
      return found;
    }
    bool valid = true;
    each_setting(setting, [&](const std::string& name, const std::string&) {
      const int number = name.empty() || name.find_first_not_of("0123456789") != std::string::npos ? -1 : atoi(name.c_str());
      valid = valid && number >= 0 && number < card().cards;
      if (valid) found.push_back(number);
    });
    return found;
  }();
  return visible;
}
thread_local int device = 0;

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
    {cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable", "CUDA-capable device(s) is/are busy or unavailable"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorPeerAccessAlreadyEnabled, "cudaErrorPeerAccessAlreadyEnabled", "peer access is already enabled"},
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
  if (code != cudaSuccess) last = code;
  return code;
}

cudaError_t unusable() {
  if (card().driver < CUDART_VERSION) return cudaErrorInsufficientDriver;
  if (card().none || visible_cards().empty()) return cudaErrorNoDevice;
  const std::lock_guard<std::mutex> lock(mutex);
  return deaths[device];
}

int current_device() { return device; }
void keep_device(int chosen) { device = chosen; }

void die(cudaError_t code) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (deaths[device] == cudaSuccess) deaths[device] = code;
}
bool is_dead() {
  const std::lock_guard<std::mutex> lock(mutex);
  return deaths[device] != cudaSuccess;
}
void revive() {
  const std::lock_guard<std::mutex> lock(mutex);
  deaths.clear();
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
  *count = 0;
  if (card().driver < CUDART_VERSION) return done(cudaErrorInsufficientDriver);
  if (card().none || visible_cards().empty()) return done(cudaErrorNoDevice);
  *count = static_cast<int>(visible_cards().size());
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device();
  return done(unusable());
}
// A context is made here, if the card gives one.
cudaError_t cudaSetDevice(int chosen) {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return last;
  if (chosen < 0 || chosen >= count) return done(cudaErrorInvalidDevice);
  if (visible_cards()[chosen] == card().busy) return done(cudaErrorDevicesUnavailable);
  keep_device(chosen);
  return done(unusable());
}

namespace {
bool are_cards(int a, int b) {
  const int count = static_cast<int>(visible_cards().size());
  return a >= 0 && b >= 0 && a < count && b < count && a != b;
}
// Those that each card was let reach.
auto& peers = *new std::set<std::pair<int, int>>;
}  // namespace
cudaError_t cudaDeviceCanAccessPeer(int* can, int of, int peer) {
  if (!are_cards(of, peer)) return done(cudaErrorInvalidDevice);
  *can = card().apart ? 0 : 1;
  return done(unusable());
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  if (!are_cards(device, peer)) return done(cudaErrorInvalidDevice);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!peers.insert({device, peer}).second) return done(cudaErrorPeerAccessAlreadyEnabled);
  return done(card().apart ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int of) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  if (of < 0 || of >= static_cast<int>(visible_cards().size())) return done(cudaErrorInvalidDevice);
  *properties = {};
  strcpy(properties->name, "Emulated card");
  if (visible_cards()[of] > 0) strcat(properties->name, (" " + std::to_string(visible_cards()[of])).c_str());
  properties->major = card().major;
  properties->minor = card().minor;
  properties->totalGlobalMem = card().memory;
  properties->sharedMemPerBlock = kPlainShared;
  properties->sharedMemPerBlockOptin = shared_per_block();
  properties->sharedMemPerMultiprocessor = shared_per_block() + (1 << 10);
  properties->multiProcessorCount = card().multiprocessors;
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

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute, int value) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  static int64_t calls = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  if (++calls == card().fail_attribute || static_cast<size_t>(value) > shared_per_block()) {
    return done(cudaErrorInvalidValue);
  }
  functions[{device, function}].shared = static_cast<size_t>(value);
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  const std::lock_guard<std::mutex> lock(mutex);
  *attributes = {};
  functions[{device, function}].loaded = true;
  return cudaSuccess;
}

namespace emulation {
cudaError_t prepare(const void* function, size_t shared) {
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  const std::lock_guard<std::mutex> lock(mutex);
  Function& known = functions[{device, function}];
  if (!known.loaded) late_loads++;
  known.loaded = true;
  if (shared > std::max(kPlainShared, known.shared)) return cudaErrorInvalidValue;
  return free < card().launch_room ? cudaErrorMemoryAllocation : cudaSuccess;
}
int64_t late_kernels() {
  const std::lock_guard<std::mutex> lock(mutex);
  return late_loads;
}
const char* last_error() { return cudaGetErrorName(last); }
}  // namespace emulation
