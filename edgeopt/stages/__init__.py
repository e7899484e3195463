"""The stages of a recipe, bound to artifacts.

Every function here reads artifacts (folders), calls the stage's own public function and returns its facts as JSON; the stages
themselves know nothing of recipes, stores and each other.
"""
