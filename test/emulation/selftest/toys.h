// Small kernels, right and wrong, by which the emulation is tested. The wrong ones differ from the right in one thing.
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

namespace toys {

// y[block] = sum of 256 elements of x.
void reduce(cudaStream_t stream, const float* x, float* y, int64_t blocks);
// y = x^T, 16 x 16 of bfloat16, by one warp.
void transpose(cudaStream_t stream, const uint16_t* x, uint16_t* y);
// c = a b, a [16, depth], b [depth, 8] of float32 on tensor cores; depth a multiple of 8.
void product(cudaStream_t stream, const float* a, const float* b, float* c, int depth);
// y = x + 1, every 512 elements in reverse, through shared memory in two stages; n a multiple of 512.
void pipeline(cudaStream_t stream, const float* x, float* y, int64_t n);
// The same by a warp that copies and four that wait for it.
void bulk_pipeline(cudaStream_t stream, const float* x, float* y, int64_t n);
// c = 1 + a b, 64 x 64 x 64 of bfloat16 by a warpgroup; a is [rows, terms], in shared memory or in registers, or, turned,
// [terms, rows], b [columns, terms] or [terms, columns].
enum class Left { kRows, kTurned, kRegisters };
void warpgroup_product(cudaStream_t stream, const uint16_t* a, Left left, const uint16_t* b, bool b_turned, float* c);

}  // namespace toys
