// Launches that a card starts together, captured once: between two kernels of a graph passes about half of the time that
// passes between two launches, and the host has one thing to do instead of hundreds.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "../blocks.h"

namespace fw {

class Card;

class Graph {
 public:
  explicit Graph(Card& card) : card_(card) {}
  Graph(const Graph&) = delete;
  ~Graph();

 private:
  friend class Card;

  // Working memory of its launches. They run one after the other, so what one has used serves the next.
  struct Scratch {
    Block block;
    bool used;
  };

  Card& card_;
  cudaStream_t stream_ = nullptr;  // while it is captured
  bool failed_ = false;            // a launch could not be captured
  cudaGraphExec_t launches_ = nullptr;
  std::vector<Scratch> scratch_;
};

}  // namespace fw
