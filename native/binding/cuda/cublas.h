// Finding cuBLAS.
#pragma once
#include "../../cuda/cublas.h"
#include "memory.h"

namespace fw {

// Ready for use on this stream, or with the reason in `failure`. It is FAST_WEIGHTS_CUBLAS, a path or `off`, else
// version 13 or 12 where the system's loader finds one. Its working memory is taken for good.
void open_cublas(cuda::Cublas& cublas, cudaStream_t stream, CudaMemory& memory);

}  // namespace fw
