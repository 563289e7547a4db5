// The state of the emulated cards as their runtime sees it: the error that one has died of, and the queues of its work.
#pragma once
#include <cuda_runtime_api.h>

#include <functional>
#include <vector>

namespace emulation {

// Ends a call of the runtime: remembers `code` for cudaGetLastError, and returns it.
cudaError_t done(cudaError_t code);
// Why no call can succeed on the calling thread's card: no driver, no card, or an earlier launch that failed; or cudaSuccess.
cudaError_t unusable();

// The calling thread's; the thread of a stream has the one that it was created on.
int current_device();
void keep_device(int device);

// What a launch asks of the runtime first: whether the kernel may use so much shared memory, and whether there is room.
cudaError_t prepare(const void* function, size_t shared);

// After it every call on the calling thread's card fails with `code`, until control.h's revive().
void die(cudaError_t code);
bool is_dead();

// Appends a command to a stream; null is the card's stream that was created first. Commands of all streams run one at a time, and are
// skipped on a dead device.
void submit(cudaStream_t stream, std::function<void()> command, bool even_if_dead = false);
void wait_for(cudaStream_t stream);
// Commands of the stream are put there, not run, until null is given.
void capture(cudaStream_t stream, std::vector<std::function<void()>>* commands);
void wait_for_all();
// Of the thread that created it.
int device_of(cudaStream_t stream);

}  // namespace emulation
