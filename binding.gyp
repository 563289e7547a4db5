# The CPU addon: every kernel source compiled once per instruction set, and the binding that picks one at load.
{
  'variables': {
    'kernels': [
      '<!@(node -p "require(\'fs\').readdirSync(\'native/cpu\', { recursive: true }).filter((f) => f.endsWith(\'.cc\') && f !== \'pool.cc\' && f !== \'cores.cc\').sort().map((f) => \'native/cpu/\' + f).join(\' \')")',
    ],
    # No -ffast-math: NaN and infinities count, and the order of a sum is part of the result.
    'kernel_flags': [
      '-O3', '-std=c++17', '-fPIC', '-fno-exceptions', '-fno-rtti', '-fasynchronous-unwind-tables',
      '-ffp-contract=fast', '-fno-math-errno', '-fvisibility=hidden', '-Wall', '-Wextra', '-Wno-psabi',
      '-Wno-maybe-uninitialized', '-Wno-ignored-attributes',
    ],
    # gcc would load ahead of the arithmetic before it gives out registers, and spill sums that fill them.
    'neon_flags': ['-fno-schedule-insns'],
    'avx2_flags': ['-mavx2', '-mfma', '-mf16c'],
    'avx512_flags': [
      '-mavx512f', '-mavx512vl', '-mavx512bw', '-mavx512dq', '-mfma', '-mprefer-vector-width=512',
    ],
  },
  'target_defaults': {
    'target_conditions': [
      ['_type=="static_library"', {
        'sources': ['<@(kernels)'],
        'defines': ['FW_ISA=>(_target_name)'],
        'cflags_cc': ['<@(kernel_flags)'],
        'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(kernel_flags)'] },
      }],
    ],
  },
  'targets': [
    {
      'target_name': 'fast_weights',
      'sources': [
        'native/cpu/cores.cc',
        'native/cpu/pool.cc',
        '<!@(node -p "[\'native/binding\', \'native/binding/cpu\'].flatMap((d) => require(\'fs\').readdirSync(d).filter((f) => f.endsWith(\'.cc\')).sort().map((f) => d + \'/\' + f)).join(\' \')")',
      ],
      'include_dirs': ['native/binding/cpu'],
      'dependencies': ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"],
      # The last one: while a worker is terminated nothing can be thrown into it, and trying to would end the process.
      'defines': [
        'NAPI_VERSION=8', 'NODE_ADDON_API_CPP_EXCEPTIONS_ALL', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags_cc': ['-O2', '-std=c++17', '-fvisibility=hidden', '-Wall', '-Wextra'],
      'xcode_settings': {
        'OTHER_CPLUSPLUSFLAGS': ['-O2', '-std=c++17', '-fvisibility=hidden'],
        'MACOSX_DEPLOYMENT_TARGET': '11.0',
      },
      'conditions': [
        ['target_arch=="x64"', { 'dependencies': ['portable', 'avx2', 'avx512'] }],
        ['target_arch=="arm64"', { 'dependencies': ['neon'] }],
        ['target_arch!="x64" and target_arch!="arm64"', { 'dependencies': ['portable'] }],
      ],
    },
  ],
  'conditions': [
    ['target_arch!="arm64"', { 'targets': [{ 'target_name': 'portable', 'type': 'static_library' }] }],
    ['target_arch=="arm64"', {
      'targets': [{ 'target_name': 'neon', 'type': 'static_library', 'cflags_cc': ['<@(neon_flags)'] }],
    }],
    ['target_arch=="x64"', {
      'targets': [
        {
          'target_name': 'avx2',
          'type': 'static_library',
          'cflags_cc': ['<@(avx2_flags)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx2_flags)'] },
        },
        {
          'target_name': 'avx512',
          'type': 'static_library',
          'cflags_cc': ['<@(avx512_flags)'],
          'xcode_settings': { 'OTHER_CPLUSPLUSFLAGS': ['<@(avx512_flags)'] },
        },
      ],
    }],
  ],
}
