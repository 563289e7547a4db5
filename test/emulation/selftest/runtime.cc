// Streams, events, memory and errors of the emulated runtime; each kind of card in a process of its own.
#include <stdlib.h>
#include <string.h>

#include <exception>

#include "../control.h"
#include "support.h"
#include "toys.h"

namespace selftest {

namespace {
void test_events() {
  cudaStream_t other;
  cudaEvent_t event;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  const Buffer<float> x(std::vector<float>(256 * 200, 1)), y(200);
  toys::reduce(stream(), x.data(), y.data(), 200);
  cudaEventRecord(event, stream());
  expect(cudaEventQuery(event) == cudaErrorNotReady, "an event behind a kernel is not ready at once");
  cudaStreamWaitEvent(other, event);
  float last = 0;
  cudaMemcpyAsync(&last, y.data() + 199, sizeof last, cudaMemcpyDeviceToHost, other);
  expect(last == 256, "a stream that waits for an event sees what came before it");
  expect(cudaEventQuery(event) == cudaSuccess, "then the event is ready");
  cudaEventDestroy(event);
  cudaStreamDestroy(other);
}

void test_pinned_memory() {
  float* pinned;
  cudaMallocHost(reinterpret_cast<void**>(&pinned), 4 * sizeof(float));
  const Buffer<float> x(std::vector<float>(256 * 200, 1)), y(200), z(4);
  toys::reduce(stream(), x.data(), y.data(), 200);
  pinned[0] = 1;
  cudaMemcpyAsync(z.data(), pinned, 4 * sizeof(float), cudaMemcpyHostToDevice, stream());
  pinned[0] = 2;  // before the stream gets there
  expect(z.values()[0] == 2, "pinned memory is read when the stream gets there");
  cudaFreeHost(pinned);
}

void test_blocks() {
  unsigned char* region;
  cudaMalloc(reinterpret_cast<void**>(&region), 1 << 16);
  auto* x = reinterpret_cast<float*>(region + 512);
  auto* y = reinterpret_cast<float*>(region + 8192);
  emulation_block(x, 256 * sizeof(float));
  emulation_block(y, sizeof(float));
  emulation_block(region, 0);
  expect(cudaMemsetAsync(region, 0, 256, stream()) == cudaSuccess, "setting what an allocator has rounded up");
  toys::reduce(stream(), x, y, 1);
  // Freed and handed out again in the order of the stream, before the kernel has run.
  emulation_block_free(x);
  emulation_block(x, 255 * sizeof(float));
  expect(cudaDeviceSynchronize() == cudaSuccess, "blocks live as long as the stream's commands need them");
  float value;
  expect(cudaMemcpy(&value, y + 1, sizeof value, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue, "a copy beyond one");
  expect(cudaGetLastError() == cudaErrorInvalidValue && cudaGetLastError() == cudaSuccess, "an error that passes");
  if (emulation::sees_accesses()) {
    toys::reduce(stream(), x, y, 1);
    expect(cudaDeviceSynchronize() == cudaErrorIllegalAddress, "a kernel beyond one");
    expect(cudaMalloc(reinterpret_cast<void**>(&x), 16) == cudaErrorIllegalAddress, "then every call fails");
    expect(emulation::take_findings().size() == 1, "and one thing is found");
    emulation::revive();
  }
  cudaFree(region);
  expect(cudaGetLastError() == cudaSuccess, "a revived device works");
}

void run_on(const char* program, const char* card) {
  const std::string command =
      "FAST_WEIGHTS_EMULATED_CARD='" + std::string(card) + "' '" + program + "' card '" + card + "'";
  expect(system(command.c_str()) == 0, std::string("the card ") + card);
}
}  // namespace

void test_runtime(const char* program) {
  test_events();
  test_pinned_memory();
  test_blocks();
  for (const char* card : {"none", "driver=0", "driver=12040", "capability=7.5", "memory=1048576", "failLaunch=2", "cards=2"}) {
    run_on(program, card);
  }
}

void test_card(const std::string& card) {
  int count = -1, version = -1;
  const cudaError_t code = cudaGetDeviceCount(&count);
  cudaDeviceProp properties = {};
  cudaGetDeviceProperties(&properties, 0);
  cudaDriverGetVersion(&version);
  if (card == "none") {
    expect(code == cudaErrorNoDevice && count == 0, "no device");
  } else if (card.rfind("driver=", 0) == 0) {
    expect(code == cudaErrorInsufficientDriver && version == atoi(card.c_str() + 7), "an insufficient driver");
  } else if (card == "capability=7.5") {
    expect(count == 1 && properties.major == 7 && properties.minor == 5, "compute capability 7.5");
  } else if (card == "memory=1048576") {
    void *first, *second;
    expect(cudaMalloc(&first, 1 << 19) == cudaSuccess, "half of the memory");
    expect(cudaMalloc(&second, (1 << 19) + 1) == cudaErrorMemoryAllocation, "more than the other half");
    expect(cudaMalloc(&second, 1 << 19) == cudaSuccess, "the other half");
    size_t free = 1, total = 0;
    cudaMemGetInfo(&free, &total);
    expect(free == 0 && total == 1 << 20, "none is left");
  } else if (card == "cards=2") {
    const Buffer<float> x(256), y(1);
    const cudaStream_t own = stream();
    cudaSetDevice(1);
    const Buffer<float> z(256);
    bool refused = false;
    try {
      toys::reduce(own, x.data(), y.data(), 1);
    } catch (const std::exception&) {
      refused = true;
    }
    expect(refused, "a launch on a stream of another card");
    expect(cudaMemsetAsync(y.data(), 0, 4, nullptr) == cudaErrorInvalidResourceHandle, "memory of another card");
    expect(cudaMemcpyAsync(y.data(), z.data(), 4, cudaMemcpyDefault, nullptr) == cudaErrorInvalidValue, "an unnamed copy");
    expect(cudaMemcpyPeerAsync(y.data(), 0, z.data(), 1, 4, nullptr) == cudaSuccess, "a copy between cards");
    cudaDeviceSynchronize();
    if (emulation::sees_accesses()) {
      toys::reduce(nullptr, x.data(), z.data(), 1);
      expect(cudaDeviceSynchronize() == cudaErrorIllegalAddress, "a kernel in another card's memory");
      emulation::take_findings();
      cudaSetDevice(0);
      toys::reduce(own, x.data(), y.data(), 1);
      expect(cudaDeviceSynchronize() == cudaSuccess, "the other card is well");
      emulation::revive();
    }
  } else {
    const Buffer<float> x(256), y(1);
    toys::reduce(stream(), x.data(), y.data(), 1);
    expect(cudaDeviceSynchronize() == cudaSuccess, "the first launch");
    toys::reduce(stream(), x.data(), y.data(), 1);
    expect(cudaDeviceSynchronize() == cudaErrorIllegalAddress, "the second fails");
    expect(cudaGetLastError() == cudaErrorIllegalAddress && cudaGetLastError() != cudaSuccess, "for good");
  }
}

}  // namespace selftest
