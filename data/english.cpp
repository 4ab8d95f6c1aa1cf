#include <initializer_list>
#include <string>
#include <vector>

#include "data/story.h"

namespace muonlab {
namespace {

using Memory = WordClass::Memory;

// "owl" -> "owl|an owl"
std::vector<std::string> with_article(std::initializer_list<const char*> words) {
  std::vector<std::string> result;
  for (const std::string word : words) {
    const bool vowel = std::string("aeiou").find(word[0]) != std::string::npos;
    result.push_back(word + (vowel ? "|an " : "|a ") + word);
  }
  return result;
}

// Names of two parts: so many that most must be remembered from the passage, not from training. The
// ending tells he from she.
std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const char* first :
       {"Al",  "Ber", "Bran", "Cal", "Dor", "El",  "Fen", "Gar", "Hal", "Iv",
        "Jor", "Kal", "Lor",  "Mar", "Mir", "Nel", "Or",  "Pel", "Ros", "Sel",
        "Tal", "Tor", "Ul",   "Val", "Wil", "Yor", "Zan", "Dav", "Ked", "Lin"}) {
    for (const char* end : {"a", "ina", "eth", "ella", "issa", "ia"})
      result.push_back(std::string(first) + end + "|she|her");
    for (const char* end : {"o", "en", "us", "ick", "ard", "in"})
      result.push_back(std::string(first) + end + "|he|his");
  }
  return result;
}

}  // namespace

Grammar english_grammar() {
  Grammar g;
  g.classes = {
      {Memory::distinct, "name|he|his", names()},
      {Memory::distinct, "job|a_job",
       with_article({"baker",   "sailor", "tailor",   "farmer",   "weaver",    "painter",
                     "hunter",  "smith",  "potter",   "doctor",   "singer",    "dancer",
                     "teacher", "miner",  "gardener", "shepherd", "archer",    "actor",
                     "judge",   "cook",   "monk",     "poet",     "innkeeper", "carpenter"})},
      {Memory::distinct, "thing", {"kite",   "drum",   "lamp",   "clock",  "flute",   "hat",
                                   "coat",   "rope",   "basket", "key",    "ring",    "bell",
                                   "book",   "boat",   "sword",  "cup",    "mirror",  "ladder",
                                   "saddle", "shovel", "fiddle", "wagon",  "candle",  "blanket",
                                   "hammer", "map",    "mask",   "pearl",  "spoon",   "cloak",
                                   "chair",  "bottle", "box",    "pillow", "whistle", "feather"}},
      {Memory::shared, "colour|a_colour",
       with_article({"red", "blue", "green", "yellow", "white", "black", "brown", "grey", "golden",
                     "silver", "pink", "purple", "orange", "amber", "crimson", "indigo", "violet",
                     "ivory"})},
      {Memory::shared,
       "at|to",
       {"by the river|to the river",
        "at the mill|to the mill",
        "on the hill|up the hill",
        "in the forest|into the forest",
        "under the bridge|down to the bridge",
        "at the market|to the market",
        "in the harbour|to the harbour",
        "in the castle|to the castle",
        "in the garden|into the garden",
        "near the school|to the school",
        "in the tower|up the tower",
        "by the lake|to the lake",
        "near the well|to the well",
        "on the farm|to the farm",
        "at the inn|to the inn",
        "behind the church|to the church",
        "on the beach|to the beach",
        "in the cave|into the cave",
        "on the meadow|over the meadow",
        "under the old oak|to the old oak"}},
      {Memory::shared, "food", {"plums",    "bread",  "cheese", "honey",  "apples", "soup",
                                "cherries", "nuts",   "pears",  "rice",   "cake",   "figs",
                                "beans",    "fish",   "eggs",   "grapes", "pie",    "corn",
                                "dates",    "melons", "olives", "jam",    "peas",   "toast"}},
      {Memory::none,
       "when",
       {"then", "soon", "later", "at noon", "at dusk", "in the evening", "after lunch",
        "the next day", "one day", "at dawn", "that night", "before long", "on Sunday",
        "a week later"}},
      {Memory::none,
       "went",
       {"went", "walked", "ran", "rode", "hurried", "wandered", "crept", "marched", "strolled",
        "raced", "hopped", "travelled"}},
      {Memory::none,
       "did",
       {"sang", "danced", "laughed", "rested", "slept", "whistled", "dreamed", "worked", "waited",
        "played", "prayed", "smiled"}},
      {Memory::none,
       "how",
       {"slowly", "quickly", "happily", "quietly", "sadly", "gladly", "bravely", "calmly",
        "proudly", "softly", "alone", "for hours", "as usual", "with joy"}},
      {Memory::none,
       "mood",
       {"tired", "happy", "sad", "angry", "proud", "cold", "hungry", "lonely", "merry", "quiet",
        "afraid", "brave"}},
      {Memory::none, "animal|an_animal",
       with_article({"fox", "owl", "dog", "cat", "goat", "horse", "mouse", "eagle", "bear", "duck",
                     "otter", "hen", "wolf", "frog", "swan", "donkey"})},
      {Memory::none, "kind|a_kind",
       with_article({"small", "quiet", "rich", "old", "strange", "green", "sunny", "ugly", "poor",
                     "merry", "angry", "lovely"})},
      {Memory::none, "sky|a_sky",
       with_article({"cold", "warm", "bright", "grey", "windy", "icy", "foggy", "rainy", "clear",
                     "stormy", "mild", "dark"})},
      {Memory::none,
       "land",
       {"town", "village", "valley", "country", "kingdom", "city", "island", "land"}},
      {Memory::none, "season", {"spring", "summer", "autumn", "winter"}},
      {Memory::none, "hour", {"morning", "evening", "day", "night", "afternoon"}},
      {Memory::none, "storm", {"rain", "snow", "hail", "thunder", "get dark", "blow hard"}},
      {Memory::none,
       "asker",
       {"the king", "the queen", "a child", "a stranger", "the old man", "the old woman",
        "a soldier", "the priest", "a traveller", "the mayor"}},
  };
  g.beats = {
      {1,
       1,
       {"It was {a_sky} {season} {hour}.", "Long ago, in {a_kind} {land}, there lived two friends.",
        "This is the tale of two friends from {a_kind} {land}.",
        "Two friends met one {sky} {season} {hour}."}},
  };
  const Beat person{
      1,
      1,
      {" {new}{+name} was {+a_job} who had {+a_colour} {+thing} and lived {+at}. {He} loved "
       "{+food}.",
       " {new}{+name} the {+job} lived {+at}, loved {+food}, and owned {+a_colour} {+thing}.",
       " {new}There was {+a_job} called {+name}, whose {+thing} was {+colour}. {He} lived {+at} "
       "and ate {+food}.",
       " {new}{+At} lived {+name}, {+a_job} with {+a_colour} {+thing}. {He} liked {+food} best."}};
  const Beat event{
      2,
      5,
      {" {When} {?name} {went} {>to}.", " {?name} {went} {how} {>to} with {his} {colour} {thing}.",
       " {He} was {mood} and {did} {how}.", " {When} {he} {did} {how} {at}.",
       " {?name} painted {his} {thing} {>colour}.",
       " {When} {?name} gave the {colour} {thing} to {?other.name} for the {other.colour} "
       "{other.thing}."
       "{swap:thing}{swap:colour}",
       " {When} {?name} visited {?other.name} {other.at}.{take:at}",
       " The {?job} lost {his} {thing}, but {an_animal} found it {at}.",
       " {?name} saw {a_kind} {animal} {at} and {did} {how}.",
       " {?name} ate {food} with {an_animal}.",
       " {When} it began to {storm}, so the {?job} {went} {>to}."}};
  const Beat question{
      2,
      4,
      {"\n\"Where is {?name}?\" asked {asker}. \"{At},\" said {?other.name}.",
       "\n\"Where is the {?job}?\" \"{He} is {at}.\"",
       "\n\"Who has the {?thing}?\" asked {asker}. \"{Name}!\"",
       "\n\"What colour is the {?thing}?\" \"{Colour}.\"",
       "\n\"What does the {?job} eat?\" \"{Food}!\"", "\n\"Who is the {?job}?\" \"{Name}.\"",
       "\n\"My {?thing} is {colour},\" said {name}.",
       "\n\"Is {?name} {mood}?\" asked {asker}. \"{He} {did} {how},\" said {?other.name}."}};
  // A blank line ends a passage and stands nowhere within one, so no passage begins another.
  const Beat end{1, 1, {"\n\n"}};
  for (const Beat& beat : {person, person, event, question, end}) g.beats.push_back(beat);
  return g;
}

}  // namespace muonlab
