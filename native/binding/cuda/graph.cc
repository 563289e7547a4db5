// Capturing and starting: what cannot be captured is no error, and is launched call by call.
#include "graph.h"

#include "card.h"

namespace fw {

Graph::~Graph() { card_.forget(*this); }

bool Card::begin_capture(Graph& graph) {
  if (synchronous_ || !graphs_) return false;
  bool begun = false;
  locked([&] {
    // A stream of its own: other threads go on with the card's.
    if (cudaStreamCreateWithFlags(&graph.stream_, cudaStreamNonBlocking) != cudaSuccess) graph.stream_ = nullptr;
    // Memory may be allocated meanwhile, here and by other threads.
    begun = graph.stream_ && cudaStreamBeginCapture(graph.stream_, cudaStreamCaptureModeRelaxed) == cudaSuccess;
    if (!begun) cudaGetLastError();
  });
  return begun;
}

bool Card::end_capture(Graph& graph) {
  locked([&] {
    cudaGraph_t captured = nullptr;
    const bool ended = cudaStreamEndCapture(graph.stream_, &captured) == cudaSuccess;
    if (!ended || graph.failed_ || cudaGraphInstantiate(&graph.launches_, captured, 0) != cudaSuccess) graph.launches_ = nullptr;
    if (captured) cudaGraphDestroy(captured);
    cudaStreamDestroy(graph.stream_);
    graph.stream_ = nullptr;
    cudaGetLastError();
  });
  return graph.launches_ != nullptr;
}

bool Card::launch(const Graph& graph) {
  bool launched = false;
  locked([&] {
    const cudaError_t code = cudaGraphLaunch(graph.launches_, context_.stream);
    launched = code == cudaSuccess;
    // What another launch has done to the card is told by the calls that follow.
    if (!launched) cudaGetLastError();
  });
  return launched;
}

void* Card::scratch_for(Graph& graph, int64_t bytes) {
  for (Graph::Scratch& scratch : graph.scratch_) {
    if (scratch.used || scratch.block.bytes < bytes) continue;
    scratch.used = true;
    return scratch.block.data;
  }
  graph.scratch_.push_back({take_scratch(bytes), true});
  return graph.scratch_.back().block.data;
}

void Card::forget(Graph& graph) {
  std::lock_guard<std::mutex> lock(mutex_);
  choose_card(facts_.index);
  if (graph.stream_) {
    cudaGraph_t captured = nullptr;
    if (cudaStreamEndCapture(graph.stream_, &captured) == cudaSuccess && captured) cudaGraphDestroy(captured);
    cudaStreamDestroy(graph.stream_);
  }
  // The runtime finishes first what has been started.
  if (graph.launches_) cudaGraphExecDestroy(graph.launches_);
  cudaGetLastError();
  for (const Graph::Scratch& scratch : graph.scratch_) memory_.free(scratch.block);
}

}  // namespace fw
