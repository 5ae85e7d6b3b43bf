// Prints the most probable class of each image: name_images MODEL_PREFIX IMAGE...
#include <gluon_resnet/predictor.h>

#include <fstream>
#include <iostream>
#include <iterator>

int main(int argc, char** argv) try {
  gluon_resnet::Predictor predictor(argc > 1 ? argv[1] : "");
  for (int i = 2; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    const std::vector<float> logits = predictor.logits(predictor.preprocess(bytes));
    const auto [label, probability] = gluon_resnet::most_probable(logits, 1).at(0);
    std::cout << argv[i] << ": " << predictor.card().classes[label] << ", " << probability << "\n";
  }
} catch (const std::exception& error) {
  std::cerr << "name_images: " << error.what() << "\n";
  return 1;
}
