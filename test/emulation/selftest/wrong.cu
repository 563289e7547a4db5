#include "../../../native/cuda/tile.cuh"
#include "wrong_kernel.h"

namespace {
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

struct NoWaitForNumbers : Kernel<32, Floats> {
  static FW_DEVICE void run(const Args& args, Shared& shared) {
    copyAsync4(&shared.v[lane()], args.x + 1 + lane());  // a number issued
    copyCommit();
    args.y[lane()] = shared.v[lane()];  // read too early, too
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
}  // namespace

namespace wrong {

const std::vector<Kernel> kKernels = {
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
    FW_WRONG(NoWaitForNumbers, 1, "copy", "a number issued", "read too early, too"),
    FW_WRONG(WaitIsNoBarrier, 1, "race", "issued by each", "read of another's"),
    FW_WRONG(CopyForgotten, 1, "copy", "forgotten"),
    FW_WRONG(SourceChanges, 1, "copy", "source changes"),
};

}  // namespace wrong
