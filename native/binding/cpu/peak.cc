// Measures the machine's limits on the threads of the pool.
#include "peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "../../cpu/pool.h"
#include "allocator.h"

namespace fw {
namespace {

constexpr int kTrials = 8;
constexpr double kTrialSeconds = 3e-3;

// A loop of chain = chain * a + b over independent chains, enough of them to cover the latency of the pipes and few
// enough to stay in registers. A round is 2 * LANES * CHAINS operations.
#define FW_MULTIPLY_ADDS(NAME, TARGET, LANES, CHAINS)                                           \
  TARGET __attribute__((noinline)) void NAME(int64_t rounds) {                                  \
    typedef float Vec __attribute__((vector_size(4 * LANES)));                                  \
    const Vec a = Vec{} + 0.999f, b = Vec{} + 0.001f;                                           \
    Vec chain[CHAINS];                                                                          \
    _Pragma("GCC unroll 16") for (int c = 0; c < CHAINS; c++) chain[c] = Vec{} + (2.0f + c);     \
    for (int64_t r = 0; r < rounds; r++) {                                                      \
      _Pragma("GCC unroll 16") for (int c = 0; c < CHAINS; c++) chain[c] = chain[c] * a + b;    \
    }                                                                                           \
    Vec total{};                                                                                \
    _Pragma("GCC unroll 16") for (int c = 0; c < CHAINS; c++) total += chain[c];                \
    volatile float sink = total[0];                                                             \
    static_cast<void>(sink);                                                                    \
  }

struct Loop {
  const char* instruction_set;
  void (*run)(int64_t rounds);
  double operations;  // of one round
};

FW_MULTIPLY_ADDS(multiply_adds_4, , 4, 12)
#if defined(__x86_64__)
FW_MULTIPLY_ADDS(multiply_adds_8, __attribute__((target("avx2,fma"))), 8, 12)
FW_MULTIPLY_ADDS(multiply_adds_16, __attribute__((target("avx512f,fma"))), 16, 16)
#elif defined(__aarch64__)
FW_MULTIPLY_ADDS(multiply_adds_neon, , 4, 16)
#endif
#undef FW_MULTIPLY_ADDS

constexpr Loop kLoops[] = {
    {"portable", multiply_adds_4, 2 * 4 * 12},
#if defined(__x86_64__)
    {"avx2", multiply_adds_8, 2 * 8 * 12},
    {"avx512", multiply_adds_16, 2 * 16 * 16},
#elif defined(__aarch64__)
    {"neon", multiply_adds_neon, 2 * 4 * 16},
#endif
};

// Runs task(i) for every i < tasks on the pool.
template <class Task>
void on_pool(int64_t tasks, Task task) {
  const Context context = pool_context();
  context.run(context, tasks, [](void* data, int64_t i) { (*static_cast<Task*>(data))(i); }, &task);
}

template <class Body>
double seconds(const Body& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The shortest of a few runs.
template <class Body>
double best_seconds(const Body& body) {
  double best = seconds(body);
  for (int i = 1; i < kTrials; i++) best = std::min(best, seconds(body));
  return best;
}

}  // namespace

double peak_flops(const std::string& instruction_set) {
  const Loop* loop = std::find_if(std::begin(kLoops), std::end(kLoops),
                                  [&](const Loop& l) { return instruction_set == l.instruction_set; });
  if (loop == std::end(kLoops)) return 0;
  constexpr int64_t kFirst = 1 << 14;
  const double first = best_seconds([&] { loop->run(kFirst); });
  const int64_t rounds = std::max(kFirst, static_cast<int64_t>(kFirst * kTrialSeconds / first));
  const int threads = num_threads();
  const double best = best_seconds([&] { on_pool(threads, [&](int64_t) { loop->run(rounds); }); });
  return loop->operations * rounds * threads / best;
}

double copy_bandwidth(int64_t bytes) {
  const int threads = num_threads();
  const int64_t part = bytes / 2 / threads;
  std::vector<char> from(part * threads, 1), to(part * threads, 0);
  const double best = best_seconds([&] {
    on_pool(threads, [&](int64_t i) { std::memcpy(to.data() + i * part, from.data() + i * part, part); });
  });
  return 2.0 * part * threads / best;
}

double read_bandwidth(int64_t bytes) {
  typedef uint64_t Line __attribute__((vector_size(64)));
  const int threads = num_threads();
  const int64_t lines = bytes / threads / static_cast<int64_t>(sizeof(Line));
  // Where the library's own large blocks lie.
  Allocator allocator;
  const Block block = allocator.allocate(lines * threads * static_cast<int64_t>(sizeof(Line)));
  if (!block.data) return 0;
  std::memset(block.data, 1, lines * threads * sizeof(Line));
  const double best = best_seconds([&] {
    on_pool(threads, [&](int64_t i) {
      const Line* const from = reinterpret_cast<const Line*>(block.data) + i * lines;
      Line chains[2] = {};
      for (int64_t l = 0; l + 2 <= lines; l += 2) chains[0] ^= from[l], chains[1] ^= from[l + 1];
      volatile uint64_t sink = (chains[0] ^ chains[1])[0];
      static_cast<void>(sink);
    });
  });
  allocator.free(block);
  return static_cast<double>(lines) * threads * sizeof(Line) / best;
}

}  // namespace fw
