#include "data/story.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace muonlab {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == '|')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

bool remove_prefix(std::string& text, const std::string& prefix) {
  if (text.compare(0, prefix.size(), prefix) != 0) return false;
  text.erase(0, prefix.size());
  return true;
}

// Number k of the numbers 0, 1, ... that are not taken.
std::size_t skip_taken(std::size_t k, std::vector<std::size_t> taken) {
  std::sort(taken.begin(), taken.end());
  for (const std::size_t number : taken) k += k >= number;
  return k;
}

}  // namespace

// A passage so far: what was drawn and what is known.
struct Storyteller::Scene {
  Rng rng;
  std::uint64_t draws = 0;
  double nats = 0;                                   // -log p of the choices so far
  std::vector<std::vector<std::size_t>> facts = {};  // [person][class] -> word
  std::size_t focus = 0, partner = 0;

  std::size_t choose(std::size_t n) {
    if (n == 1) return 0;
    nats += std::log(static_cast<double>(n));
    return static_cast<std::size_t>(rng.below(n, draws++));
  }
};

Storyteller::Storyteller(const Grammar& grammar) {
  for (const WordClass& c : grammar.classes) {
    Class compiled{c.memory, split(c.forms), {}};
    for (const std::string& word : c.words) {
      compiled.words.push_back(split(word));
      if (compiled.words.back().size() != compiled.forms.size())
        throw ConfigError(
            fmt::format("[grammar] the word '{}' does not have the forms {}", word, c.forms));
    }
    if (compiled.words.empty())
      throw ConfigError(fmt::format("[grammar] the class {} has no words", c.forms));
    classes_.push_back(std::move(compiled));
  }
  std::size_t people = 0;
  for (const Beat& beat : grammar.beats) {
    Part part{beat.min, beat.max, people, false, {}};
    for (const std::string& text : beat.templates) {
      try {
        part.templates.push_back(parse(text));
        const bool introduces = check(part.templates.back(), people);
        if (part.templates.size() > 1 && introduces != part.introduces)
          throw ConfigError(
              "introduces a person where the others of its beat do not, or the reverse");
        part.introduces = introduces;
      } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("[grammar] the template '{}' {}", text, error.what()));
      }
    }
    if (part.templates.empty() || part.max < part.min)
      throw ConfigError("[grammar] a beat needs templates and min <= max");
    if (part.introduces && (part.min != 1 || part.max != 1))
      throw ConfigError("[grammar] a beat that introduces a person must have min = max = 1");
    if (part.introduces) ++people;
    parts_.push_back(std::move(part));
  }
}

Storyteller::Piece Storyteller::parse_slot(std::string slot) const {
  if (slot == "new") return {Action::introduce, false, false, 0, 0, {}};
  const std::string whole = slot;
  Piece piece;
  piece.action = remove_prefix(slot, "+")       ? Action::draw
                 : remove_prefix(slot, "?")     ? Action::pick
                 : remove_prefix(slot, ">")     ? Action::redraw
                 : remove_prefix(slot, "swap:") ? Action::swap
                 : remove_prefix(slot, "take:") ? Action::take
                                                : Action::recall;
  piece.other = remove_prefix(slot, "other.");
  if (!slot.empty() && std::isupper(static_cast<unsigned char>(slot[0]))) {
    piece.capital = true;
    slot[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(slot[0])));
  }
  for (std::size_t c = 0; c < classes_.size(); ++c) {
    const auto& forms = classes_[c].forms;
    const auto at = std::find(forms.begin(), forms.end(), slot);
    if (at == forms.end()) continue;
    piece.word_class = c;
    piece.form = static_cast<std::size_t>(at - forms.begin());
    if (classes_[c].memory != WordClass::Memory::none) return piece;
    if (piece.action != Action::recall || piece.other) break;
    piece.action = Action::free;
    return piece;
  }
  throw ConfigError(fmt::format("has a slot {{{}}} that means nothing", whole));
}

std::vector<Storyteller::Piece> Storyteller::parse(const std::string& text) const {
  std::vector<Piece> pieces;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = std::min(text.find('{', at), text.size());
    if (open > at)
      pieces.push_back({Action::literal, false, false, 0, 0, text.substr(at, open - at)});
    if (open == text.size()) break;
    const std::size_t close = text.find('}', open);
    if (close == std::string::npos) throw ConfigError("has an open brace");
    pieces.push_back(parse_slot(text.substr(open + 1, close - open - 1)));
    at = close + 1;
  }
  return pieces;
}

bool Storyteller::is_distinct(const Piece& piece) const {
  return classes_[piece.word_class].memory == WordClass::Memory::distinct;
}

// Checks that every fact is known where it is needed, and returns whether a person is introduced.
bool Storyteller::check(const std::vector<Piece>& pieces, std::size_t people) const {
  std::size_t introduced = 0, drawn = 0;
  std::vector<bool> known(classes_.size(), people > 0);  // of the focus
  bool partner = false;
  for (const Piece& piece : pieces) {
    switch (piece.action) {
      case Action::literal:
      case Action::free:
        break;
      case Action::introduce:
        ++introduced;
        known.assign(classes_.size(), false);
        break;
      case Action::draw:
        if (introduced == 0 || known[piece.word_class] || piece.other)
          throw ConfigError("draws a fact that is not new");
        if (is_distinct(piece) && classes_[piece.word_class].words.size() <= people)
          throw ConfigError("has more people than words to tell them apart");
        known[piece.word_class] = true;
        ++drawn;
        break;
      case Action::pick:
        if (!is_distinct(piece))
          throw ConfigError("picks a person by a fact that two people may share");
        if (introduced > 0 || people < (piece.other ? 2u : 1u))
          throw ConfigError("picks a person too early");
        partner = piece.other;
        break;
      case Action::redraw:
        if (is_distinct(piece) || piece.other || classes_[piece.word_class].words.size() < 2)
          throw ConfigError("changes a fact that may not change");
        [[fallthrough]];
      case Action::recall:
      case Action::swap:
      case Action::take:
        if (piece.action == Action::take && is_distinct(piece))
          throw ConfigError("lets two people share a distinct fact");
        if (!(piece.other ? partner : known[piece.word_class]))
          throw ConfigError("needs a fact before it is known");
        if ((piece.action == Action::swap || piece.action == Action::take) &&
            (!partner || piece.other))
          throw ConfigError("exchanges facts without a partner");
        break;
    }
  }
  const auto remembered = std::count_if(classes_.begin(), classes_.end(), [](const Class& c) {
    return c.memory != WordClass::Memory::none;
  });
  if (introduced > 1 || (introduced == 1 && drawn != static_cast<std::size_t>(remembered)))
    throw ConfigError("must introduce one person with all facts");
  return introduced == 1;
}

// Number of ways to fill a slot when `people` are known before its template begins. It depends on
// nothing else: that is why the expectations are exact.
std::size_t Storyteller::options(const Piece& piece, std::size_t people) const {
  const auto words = [&] { return classes_[piece.word_class].words.size(); };
  switch (piece.action) {
    case Action::free:
      return words();
    case Action::draw:
      return words() - (is_distinct(piece) ? people : 0);
    case Action::redraw:
      return words() - 1;
    case Action::pick:
      return people - (piece.other ? 1 : 0);
    default:
      return 1;
  }
}

// Makes the choice of one slot and writes what it says.
void Storyteller::fill(const Piece& piece, std::size_t people, Scene& scene,
                       std::string& text) const {
  const auto fact = [&](std::size_t person) -> std::size_t& {
    return scene.facts[person][piece.word_class];
  };
  std::size_t word = scene.choose(options(piece, people));
  switch (piece.action) {
    case Action::literal:
      text += piece.text;
      return;
    case Action::introduce:
      scene.focus = scene.facts.size();
      scene.facts.emplace_back(classes_.size());
      return;
    case Action::swap:
      std::swap(fact(scene.focus), fact(scene.partner));
      return;
    case Action::take:
      fact(scene.focus) = fact(scene.partner);
      return;
    case Action::free:
      break;
    case Action::draw: {
      std::vector<std::size_t> taken;
      if (is_distinct(piece))
        for (std::size_t person = 0; person < people; ++person) taken.push_back(fact(person));
      word = fact(scene.focus) = skip_taken(word, taken);
      break;
    }
    case Action::redraw:
      word = fact(scene.focus) = skip_taken(word, {fact(scene.focus)});
      break;
    case Action::pick:
      if (piece.other)
        scene.partner = skip_taken(word, {scene.focus});
      else
        scene.focus = word;
      [[fallthrough]];
    case Action::recall:
      word = fact(piece.other ? scene.partner : scene.focus);
      break;
  }
  const std::size_t start = text.size();
  text += classes_[piece.word_class].words[word][piece.form];
  if (piece.capital)
    text[start] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[start])));
}

double Storyteller::tell(std::uint64_t seed, std::uint64_t index, std::string& text) const {
  Scene scene{Rng(seed, RngPurpose::corpus, index)};
  for (const Part& part : parts_) {
    const std::size_t sentences = part.min + scene.choose(part.max - part.min + 1);
    for (std::size_t i = 0; i < sentences; ++i)
      for (const Piece& piece : part.templates[scene.choose(part.templates.size())])
        fill(piece, part.people, scene, text);
  }
  return scene.nats;
}

// Renaming the words of a class does not change the distribution of passages, so wherever a word
// stands, each word of its class is equally likely there; the expected length of a slot is the mean
// over the class.
Storyteller::Mean Storyteller::mean() const {
  Mean total;
  for (const Part& part : parts_) {
    Mean sentence{std::log(static_cast<double>(part.templates.size())), 0};
    for (const auto& pieces : part.templates) {
      const double weight = 1 / static_cast<double>(part.templates.size());
      for (const Piece& piece : pieces) {
        sentence.nats += weight * std::log(static_cast<double>(options(piece, part.people)));
        double length = static_cast<double>(piece.text.size());
        const bool wordless = piece.action == Action::literal ||
                              piece.action == Action::introduce || piece.action == Action::swap ||
                              piece.action == Action::take;
        if (!wordless) {
          const auto& words = classes_[piece.word_class].words;
          for (const auto& word : words) length += static_cast<double>(word[piece.form].size());
          length /= static_cast<double>(words.size());
        }
        sentence.characters += weight * length;
      }
    }
    const double sentences = static_cast<double>(part.min + part.max) / 2;
    total.nats +=
        std::log(static_cast<double>(part.max - part.min + 1)) + sentences * sentence.nats;
    total.characters += sentences * sentence.characters;
  }
  return total;
}

}  // namespace muonlab
