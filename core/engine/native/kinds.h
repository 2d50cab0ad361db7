// Generated from the table in core/graph/kind.go by `go test ./core/graph -run Header -update`. Do not edit.
#pragma once
// clang-format off

// row(name, number, family, operands, results): the letters are explained in check.cc.
#define LB_KINDS(row) \
  row(conv, 1, conv, "ttFFFFFFF", "tFF") \
  row(conv_backward_data, 2, conv, "tt", "t") \
  row(conv_backward_weights, 3, conv, "ttFFFF", "tF") \
  row(norm_stats, 4, norm, "tFF", "ff") \
  row(norm_apply, 5, norm, "tffffT", "t") \
  row(norm_backward, 6, norm, "ttffffTT", "tffT") \
  row(relu, 7, elementwise, "t", "t") \
  row(relu_backward, 8, elementwise, "tt", "t") \
  row(add, 9, elementwise, "tt", "t") \
  row(detach, 10, elementwise, "t", "t") \
  row(max_pool, 11, pool, "t", "tu") \
  row(max_pool_backward, 12, pool, "tu", "t") \
  row(average_pool, 13, pool, "t", "t") \
  row(average_pool_backward, 14, pool, "t", "t") \
  row(adaptive_average_pool, 15, pool, "t", "t") \
  row(adaptive_average_pool_backward, 16, pool, "t", "t") \
  row(linear, 17, linear, "ttF", "t") \
  row(linear_backward_data, 18, linear, "tt", "t") \
  row(linear_backward_weights, 19, linear, "tt", "tF") \
  row(cross_entropy, 20, loss, "fs", "fff") \
  row(cross_entropy_backward, 21, loss, "fs", "e") \
  row(normalize_image, 22, elementwise, "u", "e") \
  row(sgd, 23, update, "feFf", "") \
  row(upsample, 24, upsample, "t", "t") \
  row(upsample_backward, 25, upsample, "t", "t") \
  row(binary_cross_entropy, 26, loss, "fu", "f") \
  row(binary_cross_entropy_backward, 27, loss, "fu", "e") \
  row(deviation, 28, similarity, "t", "f") \
  row(deviation_backward, 29, similarity, "ftf", "t") \
  row(similarity, 30, similarity, "fs", "f") \
  row(similarity_backward, 31, similarity, "fs", "f") \
  row(contrast, 32, similarity, "fs", "ff") \
  row(contrast_backward, 33, similarity, "fsf", "f") \
  row(average, 34, update, "ff", "") \
  row(augment, 35, elementwise, "us", "u") \
  row(cast, 36, elementwise, "e", "e") \
  row(silu, 37, elementwise, "t", "t") \
  row(silu_backward, 38, elementwise, "tt", "t") \
  row(gate, 39, gate, "tt", "t") \
  row(gate_backward, 40, gate, "ttt", "tt") \
  row(dropout, 41, dropout, "ts", "t") \
  row(concat, 42, shape, "t+", "t") \
  row(slice, 43, shape, "tT", "t") \
  row(slice_backward, 44, shape, "tT", "t") \
  row(permute, 45, shape, "t", "t") \
  row(reshape, 46, shape, "t", "t") \
  row(adam, 47, update, "fefffs", "") \
  row(rmsprop, 48, update, "feffF", "") \
  row(adagrad, 49, update, "feff", "") \
  row(activate, 50, elementwise, "t", "t") \
  row(activate_backward, 51, elementwise, "tt", "t") \
  row(layer_norm, 52, layernorm, "tff", "t") \
  row(layer_norm_backward, 53, layernorm, "ttf", "tff") \
  row(scale, 54, gate, "tf", "t") \
  row(scale_backward, 55, gate, "ttf", "tf") \
  row(quantize, 56, quantize, "eS", "uF") \
  row(dequantize, 57, quantize, "uF", "e") \
  row(norm_backward_sums, 58, norm, "ttffffTT", "fffT") \
  row(conv_norm_backward, 59, convnorm, "ttttfFFFF", "ttFFF")

// row(name): make_<name> chooses the kernels of a family.
#define LB_FAMILIES(row) \
  row(conv) \
  row(norm) \
  row(elementwise) \
  row(pool) \
  row(linear) \
  row(loss) \
  row(update) \
  row(upsample) \
  row(similarity) \
  row(gate) \
  row(dropout) \
  row(shape) \
  row(layernorm) \
  row(quantize) \
  row(convnorm)

// clang-format on
