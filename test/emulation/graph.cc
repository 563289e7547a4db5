// Graphs of the runtime: commands of a stream that were captured instead of run. Of their kinds only those that native/binding
// uses: relaxed captures of one stream.
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "card.h"
#include "control.h"
#include "device.h"

namespace {
using Commands = std::vector<std::function<void()>>;
std::atomic<int64_t> count{0};

// What streams capture at present, each by its own thread.
thread_local std::shared_ptr<Commands> captured;
}  // namespace

struct CUgraph_st {
  std::shared_ptr<const Commands> commands;
};
struct CUgraphExec_st {
  std::shared_ptr<const Commands> commands;
};

namespace emulation {
int64_t graphs() { return count; }
}  // namespace emulation

using namespace emulation;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  if (!stream || captured || mode != cudaStreamCaptureModeRelaxed) return done(cudaErrorStreamCaptureUnsupported);
  captured = std::make_shared<Commands>();
  capture(stream, captured.get());
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!captured) return done(cudaErrorIllegalState);
  capture(stream, nullptr);
  const std::shared_ptr<const Commands> commands = std::move(captured);
  captured = nullptr;
  if (card().fail_capture) return done(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{commands};
  return done(unusable());
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* launches, cudaGraph_t graph, unsigned long long) {
  const cudaError_t code = unusable();
  if (code == cudaSuccess) *launches = new CUgraphExec_st{graph->commands};
  return done(code);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t launches, cudaStream_t stream) {
  const cudaError_t code = unusable();
  if (code != cudaSuccess) return done(code);
  if (device_of(stream) != current_device()) return done(cudaErrorInvalidResourceHandle);
  submit(stream, [commands = launches->commands] {
    count++;
    for (const std::function<void()>& command : *commands) {
      if (!is_dead()) command();
    }
  });
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t launches) {
  delete launches;
  return cudaSuccess;
}
