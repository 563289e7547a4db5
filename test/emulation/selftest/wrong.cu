#include "wrong.h"

#include "../../../native/cuda/warpgroup.cuh"

namespace {
using namespace fw::cuda;

struct XY {
  float *x, *y;
};

// Begins a kernel of `threads` threads whose shared memory is `Memory`.
template <int threads, class Memory>
struct Kernel {
  static constexpr int kThreads = threads;
  using Args = XY;
  using Shared = Memory;
};
struct Nothing {};
struct Floats {
  alignas(16) float v[256];
};
struct Rows {
  alignas(16) uint16_t v[32][8];
};

struct NoBarrier : Kernel<64, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    shared.v[thread()] = args.x[thread()];       // writes before no barrier
    args.y[thread()] = shared.v[63 - thread()];  // reads after no barrier
  }
};

struct NoBarrierBeforeReuse : Kernel<64, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    for (int i = 0; i < 2; i++) {
      shared.v[thread()] = args.x[thread()];       // writes again
      barrier();
      args.y[thread()] = shared.v[63 - thread()];  // has read before
    }
  }
};

struct NoWarpSync : Kernel<32, Rows> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    for (int i = 0; i < 8; i++) shared.v[lane()][i] = toBfloat16(args.x[lane() * 8 + i]);  // writes its row
    uint32_t r[4];
    loadMatrix(r, shared.v[lane()]);  // reads others' rows
    args.y[lane()] = fromBits(r[0] ^ r[1] ^ r[2] ^ r[3]);
  }
};

struct OneLaneMissing : Kernel<64, Nothing> {
  static FW_DEVICE void run(const Args&, Shared&) {
    if (thread() != 40) barrier();  // waits for all
  }
};

struct Trapped : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args&, Shared&) {
    if (thread() == 7) trap();  // cannot be
  }
};

struct LanesApart : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args& args, Shared&) {
    float x = args.x[lane()];
    if (lane() < 16) x = shuffleXor(x, 1);  // one half
    else x = shuffleXor(x, 2);              // other half
    args.y[lane()] = x;
  }
};

struct WarpsApart : Kernel<64, Nothing> {
  static FW_DEVICE void run(const Args&, Shared&) {
    if (warp() == 0) barrier();  // first warp
    else barrier();              // second warp
  }
};

struct WarpWaitsForBarrier : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args&, Shared&) {
    if (lane() < 8) warpSync();  // some at a warpSync
    barrier();                   // some at a barrier
  }
};

struct BeyondGlobal : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args& args, Shared&) { args.y[lane()] = args.x[225 + lane()]; }  // reads element 256
};

struct BeyondShared : Kernel<32, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    shared.v[lane() + 225] = args.x[lane()];  // writes shared element 256
  }
};

struct StaticVariable : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args& args, Shared&) {
    static float last;
    args.y[lane()] = last;
    last = args.x[lane()];  // writes a static variable
  }
};

struct Misaligned : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args& args, Shared&) {
    reinterpret_cast<float4*>(args.y)[lane()] = reinterpret_cast<float4*>(args.x + 1)[lane()];  // 16 bytes, 4 off
  }
};

struct BlocksWrite : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args& args, Shared&) { args.y[lane()] = args.x[lane()]; }  // all blocks write this
};

struct BlocksRead : Kernel<32, Nothing> {
  static FW_DEVICE void run(const Args& args, Shared&) {
    if (thread() == 0) args.y[block()] = args.y[(block() + 1) % 2];  // reads the other block's, and writes
  }
};

struct NoCopyWait : Kernel<32, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    copyAsync16(&shared.v[4 * lane()], args.x + 4 * lane());  // issued
    copyCommit();
    copyWait<1>();
    args.y[lane()] = shared.v[4 * lane()];  // read too early
    copyWait<0>();
  }
};

struct WaitIsNoBarrier : Kernel<64, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    copyAsync16(&shared.v[4 * thread()], args.x + 4 * thread());  // issued by each
    copyCommit();
    copyWait<0>();
    args.y[thread()] = shared.v[4 * (63 - thread())];  // read of another's
  }
};

struct CopyForgotten : Kernel<32, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    copyAsync16(&shared.v[4 * lane()], args.x + 4 * lane());  // forgotten
  }
};

struct SourceChanges : Kernel<32, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    copyAsync16(&shared.v[4 * lane()], args.x + 4 * lane());  // source changes
    copyCommit();
    args.x[4 * lane()] += 1;
    copyWait<0>();
  }
};

struct Bulk {
  alignas(16) float v[256];
  uint64_t full, other;
};
constexpr int kBulkBytes = 256 * sizeof(float);

// Begins a kernel of two warps that know of an mbarrier at which one thread arrives.
struct BulkKernel : Kernel<64, Bulk> {
  static FW_DEVICE void begin(Shared& shared) {
    if (thread() == 0) mbarrierInit(&shared.full, 1), fenceProxyAsync();
    barrier();
  }
  static FW_DEVICE void copy(const Args& args, Shared& shared) {
    mbarrierExpect(&shared.full, kBulkBytes);
    copyBulk(shared.v, args.x, kBulkBytes, &shared.full);  // by one thread
  }
};

struct NotInitialised : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    mbarrierWait(&shared.other, 0);  // another than that
  }
};

struct NotKnown : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    if (thread() == 0) mbarrierInit(&shared.full, 1);  // made by one
    if (thread() == 0) mbarrierArrive(&shared.full);
    if (thread() == 1) mbarrierWait(&shared.full, 0);  // used by another
  }
};

struct NotFenced : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    if (thread() == 0) mbarrierInit(&shared.full, 1);  // not for copies
    barrier();
    if (thread() == 0) copy(args, shared);
    mbarrierWait(&shared.full, 0);
  }
};

struct WriteNotFenced : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    shared.v[thread()] = 0;  // a write that copies do not know
    barrier();
    if (thread() == 0) copy(args, shared);
    mbarrierWait(&shared.full, 0);
  }
};

struct ReadBeforeWait : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copy(args, shared);
    barrier();
    args.y[thread()] = shared.v[thread()];  // read too early, for all a barrier
    barrier();
    mbarrierWait(&shared.full, 0);
  }
};

struct OnlyOneWaits : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copy(args, shared), mbarrierWait(&shared.full, 0);
    if (thread() == 1) args.y[0] = shared.v[0];  // read without a wait
  }
};

struct TooManyArrive : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    if (thread() == 0) mbarrierExpect(&shared.full, 16);
    if (thread() == 0) mbarrierArrive(&shared.full);  // one too many
  }
};

struct TooLate : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    if (thread() == 0) mbarrierArrive(&shared.full), mbarrierArrive(&shared.full);
    barrier();
    mbarrierWait(&shared.full, 0);  // the first of two
  }
};

struct NobodyArrives : BulkKernel {
  static FW_DEVICE void run(const Args&, Shared& shared) {
    begin(shared);
    mbarrierWait(&shared.full, 0);  // for nobody
  }
};

struct BulkForgotten : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copy(args, shared);
  }
};

struct BulkBeyond : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copyBulk(shared.v, args.x + 4, kBulkBytes, &shared.full);  // 16 bytes beyond
  }
};

struct BulkMisaligned : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (thread() == 0) copyBulk(shared.v, args.x + 1, 16, &shared.full);  // 4 bytes off
  }
};

// What one lane tells is not what its warp has done.
struct ArrivesForOthers : BulkKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(shared);
    if (warp() == 0) {
      shared.v[lane()] = args.x[lane()];  // written by all lanes
      if (lane() == 0) mbarrierArrive(&shared.full);
    } else {
      mbarrierWait(&shared.full, 0);
      args.y[lane()] = shared.v[lane()];  // read when one has arrived
    }
  }
};

struct Factors {
  alignas(1024) uint16_t a[64 * 64];
};

// Begins a kernel of a warpgroup that multiplies a factor by itself.
struct WarpgroupKernel : Kernel<128, Factors> {
  using Sums = float[8][4];
  static FW_DEVICE void begin(const Args& args, Shared& shared) {
    for (int i = thread(); i < 64 * 64; i += kThreads) shared.a[i] = toBfloat16(args.x[i % 256]);  // writes a factor
    fenceProxyAsync();
    barrier();
  }
  static FW_DEVICE void multiply(Sums& c, Shared& shared) {
    const uint64_t a = matrixDescriptor(shared.a, 0, 1024);
    warpgroupMultiply<false, false>(c, a, a);  // the product
  }
};

struct SumsUsed : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    c[0][0] += 1;
    c[0][0] = 0;
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct ProductNotFenced : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    multiply(c, shared);
    warpgroupCommit();
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct ProductForgotten : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    args.y[thread()] = c[0][0];
  }
};

struct FactorChanges : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    barrier();
    if (thread() == 0) shared.a[0] = 1;
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct FactorRewritten : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    barrier();
    if (thread() == 0) shared.a[0] = toBfloat16(args.x[0]);  // writes the same again
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct FactorNotFenced : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    if (thread() == 0) shared.a[0] = 0;  // writes and does not fence
    barrier();
    Sums c = {};
    warpgroupFence();
    multiply(c, shared);
    warpgroupCommit();
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

struct WarpMissing : WarpgroupKernel {
  static FW_DEVICE void run(const Args&, Shared&) {
    if (warp() != 3) warpgroupFence();  // three warps
  }
};

struct OtherFactors : WarpgroupKernel {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    begin(args, shared);
    Sums c = {};
    warpgroupFence();
    const uint64_t a = matrixDescriptor(shared.a, 0, warp() == 0 ? 1024 : 512);
    warpgroupMultiply<false, false>(c, a, a);  // not the same for all
    warpgroupCommit();
    warpgroupWait<0>();
    args.y[thread()] = c[0][0];
  }
};

template <class K, int blocks>
void start(cudaStream_t stream, float* x, float* y) {
  launch<K>(Context{stream, nullptr}, blocks, {x, y});
}
}  // namespace

namespace wrong {

const char* const kSource = __FILE__;

#define FW_WRONG(name, blocks, kind, ...) {#name, start<name, blocks>, kind, {__VA_ARGS__}}
const Kernel kKernels[] = {
    FW_WRONG(NoBarrier, 1, "race", "writes before no barrier", "reads after no barrier"),
    FW_WRONG(NoBarrierBeforeReuse, 1, "race", "writes again", "has read before"),
    FW_WRONG(NoWarpSync, 1, "race", "writes its row", "reads others' rows"),
    FW_WRONG(OneLaneMissing, 1, "deadlock", "waits for all"),
    FW_WRONG(Trapped, 1, "trap", "cannot be"),
    FW_WRONG(LanesApart, 1, "divergence", "one half", "other half"),
    FW_WRONG(WarpsApart, 1, "divergence", "first warp", "second warp"),
    FW_WRONG(WarpWaitsForBarrier, 1, "deadlock", "some at a warpSync", "some at a barrier"),
    FW_WRONG(BeyondGlobal, 1, "bounds", "reads element 256"),
    FW_WRONG(BeyondShared, 1, "bounds", "writes shared element 256"),
    FW_WRONG(StaticVariable, 1, "bounds", "writes a static variable"),
    FW_WRONG(Misaligned, 1, "bounds", "16 bytes, 4 off"),
    FW_WRONG(BlocksWrite, 2, "blocks", "all blocks write this"),
    FW_WRONG(BlocksRead, 2, "blocks", "reads the other block's, and writes"),
    FW_WRONG(NoCopyWait, 1, "copy", "issued", "read too early"),
    FW_WRONG(WaitIsNoBarrier, 1, "race", "issued by each", "read of another's"),
    FW_WRONG(CopyForgotten, 1, "copy", "forgotten"),
    FW_WRONG(SourceChanges, 1, "copy", "source changes"),
    FW_WRONG(NotInitialised, 1, "mbarrier", "another than that"),
    FW_WRONG(NotKnown, 1, "race", "made by one", "used by another"),
    FW_WRONG(NotFenced, 1, "fence", "not for copies", "by one thread"),
    FW_WRONG(WriteNotFenced, 1, "fence", "a write that copies do not know", "by one thread"),
    FW_WRONG(ReadBeforeWait, 1, "copy", "by one thread", "read too early, for all a barrier"),
    FW_WRONG(OnlyOneWaits, 1, "race", "by one thread", "read without a wait"),
    FW_WRONG(TooManyArrive, 1, "mbarrier", "one too many"),
    FW_WRONG(TooLate, 1, "mbarrier", "the first of two"),
    FW_WRONG(NobodyArrives, 1, "deadlock", "for nobody"),
    FW_WRONG(BulkForgotten, 1, "copy", "by one thread"),
    FW_WRONG(BulkBeyond, 1, "bounds", "16 bytes beyond"),
    FW_WRONG(BulkMisaligned, 1, "bounds", "4 bytes off"),
    FW_WRONG(SumsUsed, 1, "warpgroup", "the product"),
    FW_WRONG(ProductNotFenced, 1, "warpgroup", "the product"),
    FW_WRONG(ProductForgotten, 1, "warpgroup", "the product"),
    FW_WRONG(FactorChanges, 1, "warpgroup", "the product"),
    FW_WRONG(FactorRewritten, 1, "race", "writes the same again", "the product"),
    FW_WRONG(FactorNotFenced, 1, "fence", "writes and does not fence", "the product"),
    FW_WRONG(WarpMissing, 1, "deadlock", "three warps"),
    FW_WRONG(OtherFactors, 1, "warpgroup", "not the same for all"),
    FW_WRONG(ArrivesForOthers, 1, "race", "written by all lanes", "read when one has arrived"),
};
const int kCount = sizeof kKernels / sizeof kKernels[0];

}  // namespace wrong
