// The state of the emulated device as its runtime sees it: the error it has died of, and the queue of its work.
#pragma once
#include <cuda_runtime_api.h>

#include <functional>

namespace emulation {

// Ends a call of the runtime: remembers `code` for cudaGetLastError, and returns it.
cudaError_t done(cudaError_t code);
// Why no call can succeed: no driver, no card, or an earlier launch that failed; or cudaSuccess.
cudaError_t unusable();

// The calling thread's.
int current_device();

// What a launch asks of the runtime first: whether the kernel may use so much shared memory, and whether there is room.
cudaError_t prepare(const void* function, size_t shared);

// After it every call fails with `code`, until control.h's revive().
void die(cudaError_t code);
bool is_dead();

// Appends a command to a stream; null is the stream created first. Commands of all streams run one at a time, and are
// skipped on a dead device.
void submit(cudaStream_t stream, std::function<void()> command, bool even_if_dead = false);
void wait_for(cudaStream_t stream);
void wait_for_all();
// Of the thread that created it.
int device_of(cudaStream_t stream);

}  // namespace emulation
