// clang-format off
// GFLOP/s of the forward pass of 3x3 convolutions of stride 2 in f32, on one thread;
// written by BenchmarkStridedConv -update on AMD EPYC, avx512.
// channels in, results in a row, oneDNN, direct
{16, 4, 174, 235},
{16, 8, 136, 249},
{16, 16, 124, 246},
{32, 4, 171, 228},
{32, 8, 142, 241},
{32, 28, 171, 212},
{64, 4, 206, 221},
{64, 8, 202, 251},
{64, 16, 196, 247},
{64, 28, 209, 235},
{64, 56, 217, 244},
{128, 4, 210, 206},
{128, 7, 242, 115},
{128, 14, 241, 188},
{128, 28, 231, 230},
{256, 2, 126, 69},
{256, 7, 255, 70},
{256, 14, 255, 152},
