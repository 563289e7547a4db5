// Streams and events: a stream is a thread that runs its commands in order.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "control.h"
#include "device.h"

namespace {
using Clock = std::chrono::steady_clock;

// One lock for all queues and events. Threads of streams outlive main: what they use is never destroyed.
auto& mutex = *new std::mutex;
auto& changed = *new std::condition_variable;
// Held by the command that runs.
auto& running = *new std::mutex;
// No command begins before.
Clock::time_point held_until;
}  // namespace

struct CUstream_st {
  std::deque<std::function<void()>> queue;
  int64_t submitted = 0, finished = 0;
  const int device = emulation::current_device();
  bool ending = false;
  std::vector<std::function<void()>>* captured = nullptr;  // where commands go instead

  void run() {
    emulation::keep_device(device);
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return !queue.empty() || ending; });
      if (queue.empty()) break;
      while (Clock::now() < held_until) changed.wait_until(lock, held_until);
      const std::function<void()> command = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      command();
      lock.lock();
      finished++;
      changed.notify_all();
    }
    delete this;
  }
};

struct CUevent_st {
  // Records asked for and reached; kept by the streams that will reach one.
  struct State {
    int64_t recorded = 0, reached = 0;
    Clock::time_point time;
  };
  std::shared_ptr<State> state = std::make_shared<State>();
  const int device = emulation::current_device();
};

namespace emulation {

namespace {
std::atomic<int64_t> host_function_count{0};
// In the order of their creation.
auto& streams = *new std::deque<cudaStream_t>;

void append(cudaStream_t stream, std::function<void()> command) {
  stream->queue.push_back(std::move(command));
  stream->submitted++;
  changed.notify_all();
}

cudaStream_t create() {
  const auto stream = new CUstream_st;
  streams.push_back(stream);
  std::thread([stream] { stream->run(); }).detach();
  return stream;
}

cudaStream_t resolve(cudaStream_t stream) {
  if (stream) return stream;
  for (const cudaStream_t known : streams) {
    if (known->device == current_device()) return known;
  }
  return create();
}

void wait(std::unique_lock<std::mutex>& lock, cudaStream_t stream) {
  const int64_t target = stream->submitted;
  changed.wait(lock, [&] { return stream->finished >= target; });
}
}  // namespace

void submit(cudaStream_t stream, std::function<void()> command, bool even_if_dead) {
  const std::lock_guard<std::mutex> lock(mutex);
  const cudaStream_t on = resolve(stream);
  if (on->captured) return on->captured->push_back(std::move(command));
  append(on, [command = std::move(command), even_if_dead] {
    const std::lock_guard<std::mutex> lock(running);
    if (even_if_dead || !is_dead()) command();
  });
}
void wait_for(cudaStream_t stream) {
  std::unique_lock<std::mutex> lock(mutex);
  wait(lock, resolve(stream));
}
void capture(cudaStream_t stream, std::vector<std::function<void()>>* commands) {
  const std::lock_guard<std::mutex> lock(mutex);
  resolve(stream)->captured = commands;
}
int device_of(cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  return resolve(stream)->device;
}

void hold(int64_t milliseconds) {
  const std::lock_guard<std::mutex> lock(mutex);
  held_until = Clock::now() + std::chrono::milliseconds(milliseconds);
  changed.notify_all();
}

int64_t host_functions() { return host_function_count; }
void wait_for_all() {
  std::unique_lock<std::mutex> lock(mutex);
  for (const cudaStream_t stream : std::deque<cudaStream_t>(streams)) wait(lock, stream);
}

}  // namespace emulation

using namespace emulation;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  const std::lock_guard<std::mutex> lock(mutex);
  *stream = create();
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::unique_lock<std::mutex> lock(mutex);
  for (auto i = streams.begin(); i != streams.end(); i++) {
    if (*i != stream) continue;
    streams.erase(i);
    wait(lock, stream);
    stream->ending = true;
    changed.notify_all();
    return done(cudaSuccess);
  }
  return done(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  wait_for(stream);
  return done(unusable());
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const cudaStream_t queried = resolve(stream);
    if (queried->finished < queried->submitted) return done(cudaErrorNotReady);
  }
  return done(unusable());
}
cudaError_t cudaDeviceSynchronize() {
  wait_for_all();
  return done(unusable());
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t run, void* data) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  submit(stream, [=] {
    host_function_count++;
    run(data);
  });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const cudaError_t code = unusable();
  if (code == cudaSuccess) *event = new CUevent_st;
  return done(code);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  const std::lock_guard<std::mutex> lock(mutex);
  const cudaStream_t behind = resolve(stream);
  if (behind->device != event->device || behind->device != current_device()) return done(cudaErrorInvalidResourceHandle);
  const std::shared_ptr<CUevent_st::State> state = event->state;
  append(behind, [state, record = ++state->recorded] {
    const std::lock_guard<std::mutex> lock(mutex);
    state->reached = record;
    state->time = Clock::now();
  });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  const std::lock_guard<std::mutex> lock(mutex);
  return done(event->state->reached < event->state->recorded ? cudaErrorNotReady : cudaSuccess);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  {
    std::unique_lock<std::mutex> lock(mutex);
    const std::shared_ptr<CUevent_st::State> state = event->state;
    changed.wait(lock, [&, record = state->recorded] { return state->reached >= record; });
  }
  return done(unusable());
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const std::lock_guard<std::mutex> lock(mutex);
  *milliseconds = std::chrono::duration<float, std::milli>(end->state->time - begin->state->time).count();
  return done(cudaSuccess);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  const std::lock_guard<std::mutex> lock(mutex);
  const cudaStream_t waiting = resolve(stream);
  if (waiting->device != current_device()) return done(cudaErrorInvalidResourceHandle);
  const std::shared_ptr<CUevent_st::State> state = event->state;
  append(waiting, [state, record = state->recorded] {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return state->reached >= record; });
  });
  return cudaSuccess;
}
