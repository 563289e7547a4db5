// Finding cuBLAS.
#pragma once
#include "../../cuda/cublas.h"
#include "memory.h"

namespace fw {

// Ready for use on the stream of this context, or with the reason in `absence`. It is FAST_WEIGHTS_CUBLAS, a path or
// `off`, else version 13 or 12 where the system's loader finds one. Its working memory is taken for good. Throws where
// the library that was asked for by its path cannot be used, and where one that is there fails or finds no room.
void open_cublas(cuda::Cublas& cublas, const cuda::Context& cx, CudaMemory& memory);

}  // namespace fw
