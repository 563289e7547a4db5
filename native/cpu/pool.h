// The compute threads of the process, shared by every environment in it.
#pragma once
#include "../kernels.h"

namespace fw {

// At first as many as there are cores to use.
int num_threads();
// 1 means serial. Must not be called from inside a task.
void set_num_threads(int n);

// What kernels run with. Any thread may call `run`; while another thread has the workers, it runs its tasks alone.
Context pool_context();

// Environments that may start work; the last one to leave joins the workers.
void pool_enter();
void pool_leave();

}  // namespace fw
