#include "data/story.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace muonlab {
namespace {

constexpr std::size_t kNobody = std::numeric_limits<std::size_t>::max();

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

}  // namespace

// What is known at a point of a passage.
struct Storyteller::Scene {
  std::vector<std::vector<std::size_t>> facts;  // [person][class] -> word
  std::size_t focus = kNobody, partner = kNobody;
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
    if (part.templates.empty() || part.min < 0 || part.max < part.min)
      throw ConfigError("[grammar] a beat needs templates and 0 <= min <= max");
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

// Checks that every fact is known where it is needed, and returns whether a person is introduced.
bool Storyteller::check(const std::vector<Piece>& pieces, std::size_t people) const {
  std::size_t introduced = 0, drawn = 0;
  std::vector<bool> known(classes_.size(), people > 0);  // of the focus
  bool partner = false;
  for (const Piece& piece : pieces) {
    const bool distinct = classes_[piece.word_class].memory == WordClass::Memory::distinct;
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
        known[piece.word_class] = true;
        ++drawn;
        break;
      case Action::pick:
        if (!distinct) throw ConfigError("picks a person by a fact that two people may share");
        if (introduced > 0 || people < (piece.other ? 2u : 1u))
          throw ConfigError("picks a person too early");
        partner = piece.other;
        break;
      case Action::redraw:
        if (distinct || piece.other) throw ConfigError("changes a fact that may not change");
        [[fallthrough]];
      case Action::recall:
      case Action::swap:
      case Action::take:
        if (piece.action == Action::take && distinct)
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
  const Class& c = classes_[piece.word_class];
  switch (piece.action) {
    case Action::free:
      return c.words.size();
    case Action::draw:
      return c.words.size() - (c.memory == WordClass::Memory::distinct ? people : 0);
    case Action::redraw:
      return c.words.size() - 1;
    case Action::pick:
      return people - (piece.other ? 1 : 0);
    default:
      return 1;
  }
}

double Storyteller::tell(std::uint64_t seed, std::uint64_t index, std::string& text) const {
  const Rng rng(seed, RngPurpose::corpus, index);
  std::uint64_t choices = 0;
  double nats = 0;
  const auto choose = [&](std::size_t n) {
    nats += std::log(static_cast<double>(n));
    return static_cast<std::size_t>(rng.below(n, choices++));
  };
  // Number k among the words that `taken` does not hold.
  const auto skip_taken = [](std::size_t k, std::vector<std::size_t> taken) {
    std::sort(taken.begin(), taken.end());
    for (const std::size_t word : taken) k += k >= word;
    return k;
  };

  Scene scene;
  const auto fill = [&](const Piece& piece, std::size_t people) {
    if (piece.action == Action::literal) {
      text += piece.text;
      return;
    }
    if (piece.action == Action::introduce) {
      scene.focus = scene.facts.size();
      scene.facts.emplace_back(classes_.size());
      return;
    }
    const Class& c = classes_[piece.word_class];
    std::size_t choice = choose(options(piece, people));
    std::vector<std::size_t> taken;
    switch (piece.action) {
      case Action::draw:
        if (c.memory == WordClass::Memory::distinct)
          for (std::size_t person = 0; person < people; ++person)
            taken.push_back(scene.facts[person][piece.word_class]);
        scene.facts[scene.focus][piece.word_class] = skip_taken(choice, taken);
        break;
      case Action::redraw: {
        std::size_t& fact = scene.facts[scene.focus][piece.word_class];
        fact = skip_taken(choice, {fact});
        break;
      }
      case Action::pick:
        if (piece.other)
          scene.partner = skip_taken(choice, {scene.focus});
        else
          scene.focus = choice;
        break;
      case Action::swap:
        std::swap(scene.facts[scene.focus][piece.word_class],
                  scene.facts[scene.partner][piece.word_class]);
        return;
      case Action::take:
        scene.facts[scene.focus][piece.word_class] = scene.facts[scene.partner][piece.word_class];
        return;
      default:
        break;
    }
    if (piece.action != Action::free)
      choice = scene.facts[piece.other ? scene.partner : scene.focus][piece.word_class];
    const std::size_t start = text.size();
    text += c.words[choice][piece.form];
    if (piece.capital)
      text[start] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[start])));
  };

  for (const Part& part : parts_) {
    const int sentences =
        part.min + static_cast<int>(choose(static_cast<std::size_t>(part.max - part.min) + 1));
    for (int i = 0; i < sentences; ++i)
      for (const Piece& piece : part.templates[choose(part.templates.size())])
        fill(piece, part.people);
  }
  return nats;
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
        const bool silent = piece.action == Action::literal || piece.action == Action::introduce ||
                            piece.action == Action::swap || piece.action == Action::take;
        if (!silent) {
          const auto& words = classes_[piece.word_class].words;
          for (const auto& word : words) length += static_cast<double>(word[piece.form].size());
          length /= static_cast<double>(words.size());
        }
        sentence.characters += weight * length;
      }
    }
    const double sentences = (part.min + part.max) / 2.0;
    total.nats += std::log(part.max - part.min + 1.0) + sentences * sentence.nats;
    total.characters += sentences * sentence.characters;
  }
  return total;
}

}  // namespace muonlab
