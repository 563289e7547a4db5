// What threads know of each other between two barriers of their block. A thread counts on where others get to know what it
// has done: a warpSync, an arrival at an mbarrier, a fence. What it has done before its count was n is known to those who
// know more than n of it. Barriers of the block begin anew: whatever lies before them is known to all.
#pragma once
#include <stdint.h>

#include "block.h"

namespace emulation {

// Beside its threads a block has so many that copy for others: one for each mbarrier.
constexpr int kMostMbarriers = 64, kMostParties = kMostThreads + kMostMbarriers;

// How much is known of each party.
using Knowledge = uint32_t[kMostParties];

// At the beginning of a block and after each barrier of it.
void forget_clocks();
uint32_t count_of(int thread);
// The highest of its lanes'.
uint32_t count_of_warp(int warp);
// By all lanes of a warp: they know of each other, and of what any of them knows.
void count_warp(int warp);
// By a thread, which counts on: `knowledge` is joined with what it knows, and has done.
void tell(int thread, Knowledge& knowledge);
void learn(int thread, const Knowledge& knowledge);
// Whether a thread, or all lanes of its warp, know what a party, or all lanes of its warp, had done by `count`.
bool knows(int thread, bool all_lanes, int party, bool all_parties, uint32_t count);
// Whether somebody has told anything but by a warpSync.
bool clocks_in_use();
// By a thread, which counts on: what it has written is known to asynchronous copies. Unlike the rest this lasts.
void fence(int thread);
bool is_fenced(int thread, uint32_t epoch, uint32_t count);

}  // namespace emulation
