/* An answer to MKL's question whether the processor is Intel's: preloaded, it lets MKL use AVX-512 on others. */
int mkl_serv_intel_cpu(void) { return 1; }
int mkl_serv_intel_cpu_true(void) { return 1; }
