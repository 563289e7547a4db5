// Opening cuBLAS so that its results repeat: one stream, working memory of one size.
#include "cublas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <type_traits>

#include "emulated.h"

namespace fw {
namespace {

// What NVIDIA recommends for the largest cards.
constexpr int64_t kWorkspace = 32 << 20;

void* find(std::string& failure) {
  const char* const setting = std::getenv("FAST_WEIGHTS_CUBLAS");
  const std::string chosen = setting ? setting : "";
  if (chosen == "off") {
    failure = "FAST_WEIGHTS_CUBLAS is off";
    return nullptr;
  }
  std::string reasons;
  for (const char* version : {".13", ".12"}) {
    const std::string name = chosen.empty() ? std::string(kCublas) + version : chosen;
    if (void* const library = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) return library;
    reasons += (reasons.empty() ? "" : "; ") + std::string(dlerror());
    if (!chosen.empty()) break;
  }
  failure = reasons;
  return nullptr;
}

}  // namespace

void open_cublas(cuda::Cublas& cublas, cudaStream_t stream, CudaMemory& memory) {
  void* const library = find(cublas.failure);
  if (!library) return;
  const auto load = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    if (!function && cublas.failure.empty()) cublas.failure = "cuBLAS has no " + std::string(name);
  };
#define FW_LOAD(name) load(cublas.name, #name)
  FW_LOAD(cublasGetProperty);
  FW_LOAD(cublasGetStatusString);
  FW_LOAD(cublasCreate_v2);
  FW_LOAD(cublasSetStream_v2);
  FW_LOAD(cublasSetWorkspace_v2);
  FW_LOAD(cublasSetMathMode);
  FW_LOAD(cublasGemmStridedBatchedEx);
#undef FW_LOAD
  if (!cublas.failure.empty()) return;
  const Block workspace = memory.allocate(kWorkspace);
  if (!workspace.data) {
    cublas.failure = "no room on the card for the working memory of cuBLAS";
    return;
  }
#define FW_CALL(name, ...) cublas.passes(#name, cublas.name(__VA_ARGS__))
  // A new stream takes the working memory away.
  const bool ready = FW_CALL(cublasGetProperty, cuda::Cublas::kMajorVersion, &cublas.major) &&
                     FW_CALL(cublasGetProperty, cuda::Cublas::kMinorVersion, &cublas.minor) &&
                     FW_CALL(cublasCreate_v2, &cublas.handle) &&
                     FW_CALL(cublasSetStream_v2, cublas.handle, stream) &&
                     FW_CALL(cublasSetWorkspace_v2, cublas.handle, workspace.data, kWorkspace) &&
                     FW_CALL(cublasSetMathMode, cublas.handle, cuda::Cublas::kNoNarrowSums);
#undef FW_CALL
  if (!ready) memory.free(workspace);
}

}  // namespace fw
