// Runs before every test file: values are checked, and fresh native memory is poisoned with NaN.
process.env.FAST_WEIGHTS_CHECK ??= 'values';
process.env.FAST_WEIGHTS_POISON ??= '1';
