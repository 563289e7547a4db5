// A cuBLAS of the emulated device: plain loops on its stream, and every argument checked. It is strict where the real
// one would only not repeat its results: no product without working memory.
// EMULATED_CUBLAS_FAILS=3 fails the third product and all after it; "3,once" only that one, "3,memory" for want of memory,
// "create" already the making of a handle.
#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <memory>

namespace {

enum Status { kSuccess = 0, kNotInitialized = 1, kAllocationFailed = 3, kInvalidValue = 7, kExecutionFailed = 13, kNotSupported = 15 };
enum { kReal32 = 0, kRealBfloat16 = 14 };

float bfloat16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float x;
  memcpy(&x, &wide, sizeof x);
  return x;
}
uint16_t rounded(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (x != x) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

struct Matrix {
  char* data;
  int type;
  int64_t apart, member;
  float get(int64_t i, int64_t inner, int64_t outer) const {
    const int64_t at = i * member + outer * apart + inner;
    return type == kReal32 ? reinterpret_cast<float*>(data)[at] : bfloat16(reinterpret_cast<uint16_t*>(data)[at]);
  }
  void set(int64_t i, int64_t inner, int64_t outer, float x) const {
    const int64_t at = i * member + outer * apart + inner;
    if (type == kReal32) reinterpret_cast<float*>(data)[at] = x;
    else reinterpret_cast<uint16_t*>(data)[at] = rounded(x);
  }
};

struct Product {
  Matrix a, b, c;
  bool turnedA, turnedB;
  int m, n, k, count;
  float alpha, beta;

  void run() const {
    for (int i = 0; i < count; i++)
      for (int column = 0; column < n; column++)
        for (int row = 0; row < m; row++) {
          float sum = 0;
          for (int p = 0; p < k; p++) {
            const float left = turnedA ? a.get(i, p, row) : a.get(i, row, p);
            sum += left * (turnedB ? b.get(i, column, p) : b.get(i, p, column));
          }
          c.set(i, row, column, alpha * sum + (beta == 0 ? 0 : beta * c.get(i, row, column)));
        }
  }
};

const char* limits() {
  const char* const setting = getenv("EMULATED_CUBLAS_FAILS");
  return setting ? setting : "";
}
bool has(const char* setting, const char* word) { return strstr(setting, word) != nullptr; }

}  // namespace

struct cublasContext {
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
  int mode = 0, products = 0;
};

#define API extern "C" __attribute__((visibility("default")))

API int cublasGetProperty(int which, int* value) {
  const int version[] = {12, 9, 1};
  if (which < 0 || which > 2) return kInvalidValue;
  *value = version[which];
  return kSuccess;
}
API const char* cublasGetStatusString(int status) {
  switch (status) {
    case kInvalidValue: return "the emulated cuBLAS refuses an argument";
    case kAllocationFailed: return "CUBLAS_STATUS_ALLOC_FAILED";
    case kExecutionFailed: return "CUBLAS_STATUS_EXECUTION_FAILED";
    default: return "the emulated cuBLAS is not ready, or not asked for what it can";
  }
}
API int cublasCreate_v2(cublasContext** handle) {
  if (has(limits(), "create")) return has(limits(), "memory") ? kAllocationFailed : kNotInitialized;
  *handle = new cublasContext;
  return kSuccess;
}
API int cublasSetStream_v2(cublasContext* handle, cudaStream_t stream) {
  handle->stream = stream;
  handle->workspace = nullptr;
  return kSuccess;
}
API int cublasSetWorkspace_v2(cublasContext* handle, void* workspace, size_t bytes) {
  if (!workspace || reinterpret_cast<uintptr_t>(workspace) % 256 != 0 || bytes < 4 << 20) return kInvalidValue;
  handle->workspace = workspace;
  return kSuccess;
}
API int cublasSetMathMode(cublasContext* handle, int mode) {
  handle->mode = mode;
  return kSuccess;
}

#ifndef WITHOUT_PRODUCTS
API int cublasGemmStridedBatchedEx(cublasContext* handle, int operationA, int operationB, int m, int n, int k,
                                   const void* alpha, const void* a, int typeA, int apartA, long long memberA,
                                   const void* b, int typeB, int apartB, long long memberB, const void* beta, void* c,
                                   int typeC, int apartC, long long memberC, int count, int compute, int algorithm) {
  // 16: no partial sums narrower than float32. 68: float32 sums, no TF32.
  if (!handle || !handle->stream || !handle->workspace || handle->mode != 16) return kNotInitialized;
  const bool types = typeA == typeB && (typeA == kReal32 ? typeC == kReal32 : typeA == kRealBfloat16);
  if (!types || (typeC != kReal32 && typeC != kRealBfloat16) || compute != 68 || algorithm != -1) return kNotSupported;
  if ((operationA | operationB) & ~1 || m < 1 || n < 1 || k < 1 || count < 1) return kInvalidValue;
  if (apartA < (operationA ? k : m) || apartB < (operationB ? n : k) || apartC < m) return kInvalidValue;
  if (count > 1 && memberC == 0) return kInvalidValue;
  const int limit = *limits() ? atoi(limits()) : INT32_MAX;
  if (++handle->products == limit || (handle->products > limit && !has(limits(), "once"))) {
    return has(limits(), "memory") ? kAllocationFailed : kExecutionFailed;
  }
  const auto bytes = [](const void* data) { return static_cast<char*>(const_cast<void*>(data)); };
  auto product = std::make_unique<Product>(Product{{bytes(a), typeA, apartA, memberA},
                                                   {bytes(b), typeB, apartB, memberB},
                                                   {bytes(c), typeC, apartC, memberC},
                                                   operationA == 1,
                                                   operationB == 1,
                                                   m,
                                                   n,
                                                   k,
                                                   count,
                                                   *static_cast<const float*>(alpha),
                                                   *static_cast<const float*>(beta)});
  const auto run = [](void* data) { std::unique_ptr<Product>(static_cast<Product*>(data))->run(); };
  return cudaLaunchHostFunc(handle->stream, run, product.release()) == cudaSuccess ? kSuccess : kExecutionFailed;
}
#endif
