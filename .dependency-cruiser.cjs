// The order of the rooms of lib/: a room imports only rooms that stand before it, through their index file.
const rooms = [
  'platform',
  'core',
  'backends',
  'io',
  'autograd',
  'ops',
  'rules',
  'nn',
  'inference',
  'models',
  'viz',
  'inspect',
  'optim',
  'data',
  'train',
  'experiments',
  'server',
  'cli',
];

const order = rooms.map((room, i) => ({
  name: `${room}-imports-only-earlier-rooms`,
  severity: 'error',
  from: { path: `^lib/${room}/` },
  to: { path: `^lib/(${rooms.slice(i + 1).join('|') || 'none'})/|^lib/index` },
}));

module.exports = {
  forbidden: [
    ...order.map((rule) => (rule.from.path === '^lib/cli/' ? { ...rule, to: { path: '^lib/none/' } } : rule)),
    {
      name: 'through-the-index',
      comment: 'A room is entered through its index file.',
      severity: 'error',
      from: { path: '^lib/([^/]+)/' },
      to: { path: '^lib/[^/]+/', pathNot: ['^lib/$1/', '^lib/[^/]+/index\\.ts$'] },
    },
    {
      name: 'no-circles',
      comment: 'A type may be named in both directions (Tensor and its operator table); values may not.',
      severity: 'error',
      from: { path: '^lib' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
};
