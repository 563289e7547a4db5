// Opening cuBLAS so that its results repeat: one stream, working memory of one size.
#include "cublas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <type_traits>

#include "../errors.h"
#include "emulated.h"

namespace fw {
namespace {

// What NVIDIA recommends for the largest cards.
constexpr int64_t kWorkspace = 32 << 20;

void* find(std::string& absence) {
  const char* const setting = std::getenv("FAST_WEIGHTS_CUBLAS");
  const std::string chosen = setting ? setting : "";
  if (chosen == "off") {
    absence = "FAST_WEIGHTS_CUBLAS is off";
    return nullptr;
  }
  // It stands above what a program asks of the library, and float32 products would be rounded to ten bits.
  const char* const tf32 = std::getenv("NVIDIA_TF32_OVERRIDE");
  if (tf32 && *tf32 && std::string(tf32) != "0") {
    absence = std::string("NVIDIA_TF32_OVERRIDE=") + tf32 + " makes cuBLAS round float32 to TF32";
    return nullptr;
  }
  std::string reasons;
  for (const char* version : {".13", ".12"}) {
    const std::string name = chosen.empty() ? std::string(kCublas) + version : chosen;
    if (void* const library = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) return library;
    reasons += (reasons.empty() ? "" : "; ") + std::string(dlerror());
    if (!chosen.empty()) break;
  }
  absence = reasons;
  return nullptr;
}

void load_functions(cuda::Cublas& cublas, void* library) {
  const auto load = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    if (!function && cublas.absence.empty()) cublas.absence = "cuBLAS has no " + std::string(name);
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
}

// Asked for by its path, which no other way of multiplying is a substitute for.
bool is_chosen() {
  const char* const setting = std::getenv("FAST_WEIGHTS_CUBLAS");
  return setting && *setting && std::string(setting) != "off";
}

}  // namespace

void open_cublas(cuda::Cublas& cublas, const cuda::Context& cx, CudaMemory& memory) {
  cublas.absence.clear();
  void* const library = find(cublas.absence);
  if (library) load_functions(cublas, library);
  if (!cublas.absence.empty()) {
    if (!is_chosen()) return;
    throw std::runtime_error("FAST_WEIGHTS_CUBLAS names a cuBLAS that cannot be used: " + cublas.absence + "; it is a path, " +
                             "`off`, or unset for the system's " + kCublas + ".13 or .12");
  }
  const Block workspace = memory.allocate(kWorkspace);
  if (!workspace.data) {
    throw OutOfMemory("no room on the card for the working memory of cuBLAS, " + std::to_string(kWorkspace) +
                      " bytes; with FAST_WEIGHTS_CUBLAS=off training does without cuBLAS");
  }
  cuda::Cublas::Handle handle = nullptr;
#define FW_CALL(name, ...) cublas.require(cx, #name, [&] { return cublas.name(__VA_ARGS__); })
  try {
    FW_CALL(cublasGetProperty, cuda::Cublas::kMajorVersion, &cublas.major);
    FW_CALL(cublasGetProperty, cuda::Cublas::kMinorVersion, &cublas.minor);
    FW_CALL(cublasCreate_v2, &handle);
    // Before the working memory, which a new stream takes away.
    FW_CALL(cublasSetStream_v2, handle, cx.stream);
    FW_CALL(cublasSetWorkspace_v2, handle, workspace.data, kWorkspace);
    FW_CALL(cublasSetMathMode, handle, cuda::Cublas::kNoNarrowSums);
  } catch (...) {
    memory.free(workspace);
    throw;
  }
#undef FW_CALL
  cublas.handle = handle;
}

}  // namespace fw
