// How tests steer the emulated device and learn what it has seen. Calls about findings and sites wait for the kernels
// that have been started; settings are to be changed when the device is idle. FAST_WEIGHTS_EMULATION="seed=3,truncate,
// banks" sets them from the beginning. Findings that nobody has taken are printed when the process ends.
#pragma once
#include <stdint.h>

#include <string>
#include <vector>

namespace emulation {

// Launches of kernels and calls of host functions that have run since the process began.
int64_t launches();
// Graphs that have been started, each of which launches what it has captured.
int64_t graphs();
// Bytes of the host that are pinned.
int64_t pinned_bytes();
int64_t host_functions();
// Kernels that were loaded by their first launch, not before it.
int64_t late_kernels();
// The name of the error that cudaGetLastError would tell the calling thread.
const char* last_error();
// Lets no further command of any stream begin for so long; 0 lets them go on.
void hold(int64_t milliseconds);

// Of these kinds:
//   race        two accesses without the barrier or warpSync that would order them
//   blocks      two blocks of a launch use the same global memory, one of them to write
//   copy        a copy's bytes used before they are waited for, a source that changed, a copy that was never waited for
//   fence       memory that an asynchronous copy uses after a thread has written it, without a fenceProxyAsync between
//   warpgroup   accumulators that are used while they are computed, a product that was never waited for, or not fenced
//   mbarrier    one used before it is initialised, for more than it is there for, or too late; the launch fails
//   bounds      an address that is not in use or not aligned; the launch fails
//   divergence  lanes or threads that wait for each other at different places; the launch fails
//   deadlock    threads that wait for others that will not come; the launch fails
//   trap        what a kernel says cannot be; the launch fails
struct Finding {
  std::string kind;
  std::string text;  // kernel, what happened, file:line
  int64_t count;
};
// What was found since the last call.
std::vector<Finding> take_findings();
int64_t finding_count();
// Whether kernels tell of their accesses: not in a build with other sanitizers, which find no races.
bool sees_accesses();

// A launch that fails leaves a device that refuses all calls; this makes it usable again.
void revive();

// Calls of primitives at which threads wait, in the order in which kernels have first reached them.
struct SiteInfo {
  std::string file;
  int line;
  std::string primitive;
  bool can_mute;  // what only orders: barrier, warpSync, copyCommit, copyWait, mbarriers but for their init, fences
  int64_t reached;
};
std::vector<SiteInfo> sites();
// A muted site does nothing. `site` is a position in the list.
void mute(int site, bool muted);

// 0: warps run in order, each as far as it gets. Others: a random warp runs ahead in bursts.
void set_seed(uint64_t seed);
// Whether sums of tensor cores are cut to 24 bits where they meet the largest term, rather than rounded one by one.
void set_truncated_sums(bool truncated);

// Shared memory's 32 banks of 4 bytes: how often a line's accesses had to be repeated for a warp, if asked to count.
struct BankConflicts {
  std::string place;
  int64_t accesses;  // of warps
  int64_t extra;     // passes beyond those that the number of bytes needs
};
void count_bank_conflicts(bool count);
std::vector<BankConflicts> take_bank_conflicts();

}  // namespace emulation
