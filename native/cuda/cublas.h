// cuBLAS, which nothing links to: native/binding/cuda/cublas.cc opens it where it is installed. It chooses by the
// number of rows how to multiply, so that a row's bits depend on the rows beside it: only products of a training step
// go there (cuda.md 6.9).
#pragma once
#include <string>

#include "context.h"

namespace fw::cuda {

// A call of cuBLAS that failed again after it was given what room there is. It is not replaced by other kernels: they sum
// in another order, and a run would change its results in the middle.
class LibraryError : public std::runtime_error {
 public:
  LibraryError(const char* call, const char* status, bool no_memory)
      : std::runtime_error(std::string(call) + " failed: " + status +
                           " (with FAST_WEIGHTS_CUBLAS=off training does without cuBLAS)"),
        no_memory(no_memory) {}
  const bool no_memory;
};

struct Cublas {
  // Numbers of its public interface. Every function returns a status, 0 for success.
  enum { kAsItLies = 0, kTransposed = 1 };        // cublasOperation_t
  enum { kReal32 = 0, kRealBfloat16 = 14 };       // cudaDataType
  enum { kSumsInFloat32 = 68 };                   // cublasComputeType_t: CUBLAS_COMPUTE_32F, which is never TF32
  enum { kNoNarrowSums = 16 };                    // cublasMath_t: the default, without partial sums in bfloat16
  enum { kAnyAlgorithm = -1 };                    // cublasGemmAlgo_t
  enum { kMajorVersion = 0, kMinorVersion = 1 };  // libraryPropertyType
  enum { kAllocationFailed = 3 };                 // cublasStatus_t
  using Handle = struct cublasContext*;

  int (*cublasGetProperty)(int which, int* value);
  const char* (*cublasGetStatusString)(int status);
  int (*cublasCreate_v2)(Handle*);
  int (*cublasSetStream_v2)(Handle, cudaStream_t);
  int (*cublasSetWorkspace_v2)(Handle, void* workspace, size_t bytes);
  int (*cublasSetMathMode)(Handle, int mode);
  // c [m, n] = alpha a b + beta c of matrices by columns, for `count` members.
  int (*cublasGemmStridedBatchedEx)(Handle, int operationA, int operationB, int m, int n, int k, const void* alpha,
                                    const void* a, int typeA, int apartA, long long memberA, const void* b, int typeB,
                                    int apartB, long long memberB, const void* beta, void* c, int typeC, int apartC,
                                    long long memberC, int count, int compute, int algorithm);

  Handle handle = nullptr;
  int major = 0, minor = 0;
  std::string absence;  // why the own kernels are used instead

  bool usable() const { return handle != nullptr; }
  // Makes a call that returns a status; where the first fails, once more with all the room that the cache holds.
  template <class Call>
  void require(const Context& cx, const char* name, const Call& call) const {
    int status = call();
    if (status == 0) return;
    cudaGetLastError();
    cx.trim(cx);  // throws what the card itself has died of
    status = call();
    if (status != 0) throw LibraryError(name, cublasGetStatusString(status), status == kAllocationFailed);
  }
};

}  // namespace fw::cuda
