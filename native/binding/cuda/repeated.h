// What a card keeps of calls that are made again and again: those that follow indices answer for each time apart, others grow from
// time to time, and the runs of calls between them become graphs.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "graph.h"

namespace fw {

struct Repeated {
  struct Run {
    size_t begin, end;
    bool as_graph;  // or call by call, for good
    std::unique_ptr<Graph> graph;
  };
  std::vector<Run> runs;
};

}  // namespace fw
