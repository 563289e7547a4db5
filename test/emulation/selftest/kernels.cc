#include <emulation/tile.h>
#include <math.h>

#include <fstream>

#include "../control.h"
#include "support.h"
#include "toys.h"
#include "wrong.h"

namespace selftest {

namespace {
using emulation::Finding;

std::vector<Finding> findings() {
  cudaDeviceSynchronize();
  return emulation::take_findings();
}

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = static_cast<float>(i * 37 % 101) / 16;
  return values;
}

bool reduce_is_right() {
  const std::vector<float> x = ramp(3 * 256);
  const Buffer<float> dx(x), dy(3);
  toys::reduce(stream(), dx.data(), dy.data(), 3);
  const std::vector<float> y = dy.values();
  for (size_t b = 0; b < 3; b++) {
    float sum = 0;
    for (size_t i = 0; i < 256; i++) sum += x[b * 256 + i];
    if (y[b] != sum) return false;
  }
  return true;
}

bool transpose_is_right() {
  std::vector<uint16_t> x(256);
  for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<uint16_t>(i);
  const Buffer<uint16_t> dx(x), dy(256);
  toys::transpose(stream(), dx.data(), dy.data());
  const std::vector<uint16_t> y = dy.values();
  for (size_t i = 0; i < 256; i++) {
    if (y[i] != x[i % 16 * 16 + i / 16]) return false;
  }
  return true;
}

bool product_is_right() {
  constexpr size_t kDepth = 24;
  const std::vector<float> a = ramp(16 * kDepth), b = ramp(kDepth * 8);
  const Buffer<float> da(a), db(b), dc(128);
  toys::product(stream(), da.data(), db.data(), dc.data(), kDepth);
  const std::vector<float> c = dc.values();
  for (size_t i = 0; i < 128; i++) {
    double sum = 0;
    for (size_t k = 0; k < kDepth; k++) sum += static_cast<double>(a[i / 8 * kDepth + k]) * b[k * 8 + i % 8];
    if (!(fabs(c[i] - sum) <= 1e-5 * fabs(sum))) return false;
  }
  return true;
}

bool is_reversed(void (*pipeline)(cudaStream_t, const float*, float*, int64_t)) {
  const std::vector<float> x = ramp(5 * 512);
  const Buffer<float> dx(x), dy(x.size());
  pipeline(stream(), dx.data(), dy.data(), static_cast<int64_t>(x.size()));
  const std::vector<float> y = dy.values();
  for (size_t i = 0; i < x.size(); i++) {
    const size_t tile = i / 512 * 512, j = i % 512;
    if (y[i] != x[tile + 511 - j] + 1) return false;
  }
  return true;
}

bool warpgroup_product_is_right() {
  constexpr size_t kSize = 64;
  std::vector<uint16_t> a(kSize * kSize), b(kSize * kSize);
  for (size_t i = 0; i < a.size(); i++) {
    a[i] = fw::cuda::toBfloat16(static_cast<float>(i * 37 % 101) / 50 - 1);
    b[i] = fw::cuda::toBfloat16(static_cast<float>(i * 61 % 97) / 48 - 1);
  }
  const Buffer<uint16_t> da(a), db(b);
  for (const toys::Left left : {toys::Left::kRows, toys::Left::kTurned, toys::Left::kRegisters}) {
    const bool a_turned = left == toys::Left::kTurned;
    for (const bool b_turned : {false, true}) {
      const Buffer<float> dc(kSize * kSize);
      toys::warpgroup_product(stream(), da.data(), left, db.data(), b_turned, dc.data());
      const std::vector<float> c = dc.values();
      for (size_t i = 0; i < c.size(); i++) {
        const size_t row = i / kSize, column = i % kSize;
        double sum = 1;
        for (size_t k = 0; k < kSize; k++) {
          sum += static_cast<double>(fw::cuda::fromBfloat16(a[a_turned ? k * kSize + row : row * kSize + k])) *
                 fw::cuda::fromBfloat16(b[b_turned ? k * kSize + column : column * kSize + k]);
        }
        if (!(fabs(c[i] - sum) <= 1e-5 * (1 + fabs(sum)))) return false;
      }
    }
  }
  return true;
}

bool pipeline_is_right() { return is_reversed(toys::pipeline); }
bool bulk_pipeline_is_right() { return is_reversed(toys::bulk_pipeline); }

struct Toy {
  const char* name;
  bool (*is_right)();
};
constexpr Toy kToys[] = {{"reduce", reduce_is_right},
                         {"transpose", transpose_is_right},
                         {"product", product_is_right},
                         {"pipeline", pipeline_is_right},
                         {"bulk pipeline", bulk_pipeline_is_right},
                         {"warpgroup product", warpgroup_product_is_right}};

std::string shown(const std::vector<Finding>& list) {
  std::string text;
  for (const Finding& finding : list) {
    text += "\n    " + finding.kind + ": " + finding.text + " (" + std::to_string(finding.count) + ")";
  }
  return text;
}

// "file:line" of a mark.
std::string place_of(const std::string& path, const std::string& mark) {
  std::ifstream source(path);
  std::string text;
  for (int line = 1; std::getline(source, text); line++) {
    const size_t at = text.find("// " + mark);
    if (at == std::string::npos || text.substr(at + 3) != mark) continue;
    return path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(line);
  }
  return "";
}
}  // namespace

void test_toys() {
  for (const uint64_t seed : {0, 1, 2, 3}) {
    for (const bool truncated : {false, true}) {
      emulation::set_seed(seed);
      emulation::set_truncated_sums(truncated);
      for (const Toy& toy : kToys) {
        const std::string name = std::string(toy.name) + ", seed " + std::to_string(seed);
        expect(toy.is_right(), name + ": the result");
        const std::vector<Finding> list = findings();
        expect(list.empty(), name + ": no findings, but" + shown(list));
      }
    }
  }
  emulation::set_seed(0);
  emulation::set_truncated_sums(false);
}

void test_mutations() {
  int muted = 0;
  for (const Toy& toy : kToys) {
    const std::vector<emulation::SiteInfo> before = emulation::sites();
    toy.is_right();
    const std::vector<emulation::SiteInfo> after = emulation::sites();
    for (size_t i = 0; i < after.size(); i++) {
      if (!after[i].can_mute || (i < before.size() && after[i].reached == before[i].reached)) continue;
      muted++;
      emulation::mute(static_cast<int>(i), true);
      toy.is_right();
      expect(!findings().empty(), std::string(toy.name) + " without " + after[i].primitive + " of line " +
                                      std::to_string(after[i].line) + ": a finding");
      emulation::revive();
      emulation::mute(static_cast<int>(i), false);
    }
  }
  expect(muted == 18, "eighteen sites of toys.cu, not " + std::to_string(muted));
}

void test_wrong() {
  for (const uint64_t seed : {0, 1}) {
    emulation::set_seed(seed);
    std::vector<wrong::Kernel> kernels = wrong::kKernels;
    kernels.insert(kernels.end(), wrong::kKernelsOfGroups.begin(), wrong::kKernelsOfGroups.end());
    for (const wrong::Kernel& kernel : kernels) {
      {
        const Buffer<float> x(ramp(256)), y(256);
        kernel.start(stream(), x.data(), y.data());
        cudaDeviceSynchronize();
      }
      const std::vector<Finding> list = findings();
      bool found = false, other = false;
      for (const Finding& finding : list) {
        bool here = finding.text.find(kernel.name) != std::string::npos && finding.kind == kernel.kind;
        other = other || !here;
        for (const char* mark : kernel.marks) {
          if (!mark) continue;
          const std::string place = place_of(kernel.source, mark);
          expect(!place.empty(), std::string(mark) + ": the mark");
          here = here && finding.text.find(place) != std::string::npos;
        }
        found = found || here;
      }
      expect(found && !other, std::string(kernel.name) + ": one " + kernel.kind + ", not" + shown(list));
      const std::string kind = kernel.kind;
      const bool ends = kind == "bounds" || kind == "divergence" || kind == "deadlock" || kind == "trap" ||
                        kind == "mbarrier";
      expect((cudaGetLastError() != cudaSuccess) == ends, std::string(kernel.name) + ": whether the launch fails");
      emulation::revive();
    }
  }
  emulation::set_seed(0);
}

}  // namespace selftest
