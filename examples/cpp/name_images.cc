// Prints the most probable class of each image: name_images MODEL_PREFIX IMAGE...
#include <gluon_resnet/predictor.h>

#include <iostream>

int main(int argc, char** argv) try {
  gluon_resnet::Predictor predictor(argc > 1 ? argv[1] : "");
  for (int i = 2; i < argc; ++i) {
    const std::vector<float> logits = predictor.logits(predictor.preprocess_file(argv[i]));
    const auto [label, probability] = gluon_resnet::most_probable(logits, 1).at(0);
    std::cout << argv[i] << ": " << predictor.card().classes[label] << ", " << probability << "\n";
  }
} catch (const std::exception& error) {
  std::cerr << "name_images: " << error.what() << "\n";
  return 1;
}
