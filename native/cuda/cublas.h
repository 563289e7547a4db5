// cuBLAS, which nothing links to: native/binding/cuda/cublas.cc opens it where it is installed. It chooses by the
// number of rows how to multiply, so that a row's bits depend on the rows beside it: only products of a training step
// go there (cuda.md 6.9).
#pragma once
#include <cuda_runtime_api.h>

#include <string>

namespace fw::cuda {

struct Cublas {
  // Numbers of its public interface. Every function returns a status, 0 for success.
  enum { kAsItLies = 0, kTransposed = 1 };        // cublasOperation_t
  enum { kReal32 = 0, kRealBfloat16 = 14 };       // cudaDataType
  enum { kSumsInFloat32 = 68 };                   // cublasComputeType_t: CUBLAS_COMPUTE_32F, which is never TF32
  enum { kNoNarrowSums = 16 };                    // cublasMath_t: the default, without partial sums in bfloat16
  enum { kAnyAlgorithm = -1 };                    // cublasGemmAlgo_t
  enum { kMajorVersion = 0, kMinorVersion = 1 };  // libraryPropertyType
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
  std::string failure;  // why it is not in use

  bool usable() const { return handle && failure.empty(); }
  // Whether a call went well; the library is not used again after one that did not.
  bool passes(const char* call, int status) {
    if (status != 0) failure = std::string(call) + " failed: " + cublasGetStatusString(status);
    return status == 0;
  }
};

}  // namespace fw::cuda
