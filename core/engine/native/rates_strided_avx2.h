// clang-format off
// GFLOP/s of the forward pass of 3x3 convolutions of stride 2 in f32, on one thread;
// written by BenchmarkStridedConv -update on AMD EPYC, avx2.
// channels in, results in a row, oneDNN, direct
{16, 4, 106, 123},
{16, 8, 99, 117},
{16, 16, 79, 113},
{32, 4, 90, 125},
{32, 8, 99, 122},
{32, 28, 112, 120},
{64, 4, 99, 127},
{64, 8, 111, 121},
{64, 16, 112, 118},
{64, 28, 110, 118},
{64, 56, 105, 116},
{128, 4, 95, 122},
{128, 7, 103, 68},
{128, 14, 114, 100},
{128, 28, 120, 100},
{256, 2, 81, 41},
{256, 7, 104, 42},
{256, 14, 115, 56},
