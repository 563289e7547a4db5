// Runs before every test file: values are checked, and fresh native memory is poisoned with NaN.
process.env.FAST_WEIGHTS_CHECK ??= '1';
process.env.FAST_WEIGHTS_POISON ??= '1';
